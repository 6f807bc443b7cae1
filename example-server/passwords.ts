import { hash, verify } from '@node-rs/argon2'
import { SecurityError } from 'fastify-bulwark'
import { randomBytes } from 'node:crypto'

/** Argon2id with the parameters of the OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane. */
const ARGON2ID = Object.freeze({ memoryCost: 19_456, timeCost: 2, parallelism: 1 })

/** A longer password costs the server more than the caller. */
const MAX_BYTES = 1024

/** Each hash takes 19 MiB and a thread: this many at once, so that sign-ins leave room for everything else. */
const MAX_RUNNING = 2
/** Two seconds of work on a small machine. Who comes later is told so at once instead of waiting in vain. */
const MAX_WAITING = 64

export interface Passwords {
  /** A PHC string with its own salt. @throws SecurityError UNPROCESSABLE above 1,024 bytes, SERVICE_UNAVAILABLE under overload */
  hash (password: string): Promise<string>
  /**
   * Pass null for a user who does not exist: the answer is false after the same work, so that time tells nothing.
   * @throws SecurityError SERVICE_UNAVAILABLE under overload
   */
  verify (stored: string | null, password: string): Promise<boolean>
}

export async function createPasswords (): Promise<Passwords> {
  const slots = createSlots()
  const nobody = await hash(randomBytes(32), ARGON2ID)
  return {
    async hash (password) {
      const bytes = encode(password)
      if (bytes === null) throw new SecurityError('UNPROCESSABLE', { detail: 'The password is too long.' })
      return slots(() => hash(bytes, ARGON2ID))
    },
    async verify (stored, password) {
      // No stored password is that long, so this tells nothing of the account.
      const bytes = encode(password)
      if (bytes === null) return false
      const matches = await slots(() => verify(stored ?? nobody, bytes))
      return matches && stored !== null
    },
  }
}

/** NFC, because one keyboard sends é as one code point and another as two (RFC 8265, section 4.2). */
function encode (password: string): Buffer | null {
  const bytes = Buffer.from(password.normalize('NFC'))
  return bytes.length > MAX_BYTES ? null : bytes
}

/** Runs at most `MAX_RUNNING` operations at once and lets at most `MAX_WAITING` wait, first come, first served. */
function createSlots (): <T>(operation: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async function inSlot (operation) {
    if (running < MAX_RUNNING) {
      running++
    } else {
      if (waiting.length >= MAX_WAITING) throw new SecurityError('SERVICE_UNAVAILABLE', { headers: { 'retry-after': '2' } })
      // The one who ends hands its slot over, so `running` stays as it is.
      await new Promise<void>((resolve) => { waiting.push(resolve) })
    }
    try {
      return await operation()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}

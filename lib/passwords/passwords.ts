import { randomBytes } from 'node:crypto'
import { assertNoProblems, SecurityError, type Problem } from '../response/errors.js'
import { loadEngine, type Engine, type Stored } from './engine.js'
import { MOST, readMachine, resolvePasswordsOptions, type Cost, type PasswordsOptions,
  type ResolvedPasswords } from './options.js'
import { createSlots } from './slots.js'
import { encodePassword } from './text.js'

export interface HashOptions {
  /** Ends the wait for a turn when the client has gone (`whileConnected`). */
  readonly signal?: AbortSignal | undefined
}

export interface VerifyOptions extends HashOptions {
  /**
   * Keeps a new hash of the password. Called only when the password was right and the stored hash is weaker than the
   * options ask for. What it throws, `verify` throws.
   */
  readonly upgrade?: ((hash: string) => Promise<unknown>) | undefined
}

export interface Passwords {
  /**
   * A PHC string of Argon2id with its own salt.
   * @throws SecurityError UNPROCESSABLE for no password (empty, above 1,024 bytes), SERVICE_UNAVAILABLE under overload
   * @throws the signal's reason when it aborts before the work begins
   */
  hash (password: string, options?: HashOptions): Promise<string>
  /**
   * Whether the stored hash is that of the password. Pass null for a user who does not exist: the answer is false after
   * the same work, so that time tells nothing. For a stored value that cannot be read the answer is false, too, and the
   * process warns once.
   * @throws SecurityError SERVICE_UNAVAILABLE under overload
   * @throws the signal's reason when it aborts before the work begins
   */
  verify (stored: string | null, password: string, options?: VerifyOptions): Promise<boolean>
}

/**
 * Hashes and verifies passwords with Argon2id. Make one for a process: each has its own bound of hashes at work.
 * @throws BulwarkConfigError that lists everything wrong with the options, or says that @node-rs/argon2 is not
 * installed
 */
export async function createPasswords (options: PasswordsOptions = {}): Promise<Passwords> {
  const problems: Problem[] = []
  const resolved = resolvePasswordsOptions(options, readMachine(), problems)
  assertNoProblems(problems)
  if (resolved === null) throw new Error('options without a problem were not resolved')
  return passwordsWith(await loadEngine(resolved), resolved)
}

/** The decisions, apart from the library that does the work. */
export async function passwordsWith (
  engine: Engine,
  { cost, concurrency, queue, legacy }: ResolvedPasswords,
): Promise<Passwords> {
  const slots = createSlots(concurrency, queue)
  const unknownHash = await engine.hash(randomBytes(32))
  const warn = createWarning()

  async function failAfterSameWork (bytes: Buffer): Promise<false> {
    await engine.verify(unknownHash, bytes)
    return false
  }

  async function matches (stored: string, hash: Stored | null, bytes: Buffer, password: string): Promise<boolean> {
    // A legacy function in JavaScript may resolve to anything: only true is true.
    if (legacy !== null && !isArgon2(stored)) return await legacy(stored, password) === true
    if (hash === null || exceeds(hash, MOST)) {
      warn()
      return failAfterSameWork(bytes)
    }
    try {
      return await engine.verify(stored, bytes)
    } catch {
      warn()
      return failAfterSameWork(bytes)
    }
  }

  return {
    async hash (password, { signal } = {}) {
      const bytes = encodePassword(password)
      if (typeof bytes === 'string') throw new SecurityError('UNPROCESSABLE', { detail: bytes })
      return slots(() => engine.hash(bytes), signal)
    },
    async verify (stored, password, { signal, upgrade } = {}) {
      // A text that cannot be a password was never stored, so a quick answer tells nothing of the account.
      const bytes = encodePassword(password)
      if (typeof bytes === 'string') return false
      const { right, renewed } = await slots(async () => {
        // A user without a password may come as undefined from JavaScript.
        if (typeof stored !== 'string') return { right: await failAfterSameWork(bytes), renewed: null }
        const hash = engine.read(stored)
        const right = await matches(stored, hash, bytes, password)
        const outdated = hash?.current !== true || exceeds(cost, hash)
        // In the same slot, so that a right password is not refused because no slot is free for the new hash.
        return { right, renewed: right && outdated && upgrade !== undefined ? await engine.hash(bytes) : null }
      }, signal)
      if (renewed !== null) await upgrade?.(renewed)
      return right
    },
  }
}

function isArgon2 (stored: string): boolean {
  return stored.startsWith('$argon2')
}

/** True when one number at least is above the other's. */
function exceeds (one: Cost, other: Cost): boolean {
  return one.memoryKiB > other.memoryKiB || one.passes > other.passes || one.lanes > other.lanes
}

/** Warns once, because a client could fill the log with a warning for each attempt. */
function createWarning (): () => void {
  let warned = false
  return function warnOnce () {
    if (warned) return
    warned = true
    process.emitWarning(
      'A stored password is neither null nor an Argon2 hash that can be verified here. No password matches it.',
      { code: 'BULWARK_STORED_PASSWORD' },
    )
  }
}

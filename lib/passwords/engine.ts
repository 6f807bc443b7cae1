import { createHmac } from 'node:crypto'
import type * as Argon2 from '@node-rs/argon2'
import { BulwarkConfigError } from '../response/errors.js'
import type { Cost, ResolvedPasswords } from './options.js'

/** What a stored Argon2 hash says of itself. */
export interface Stored extends Cost {
  /**
   * Argon2id, version 19, with a salt of 128 bits and a tag of 256 at least (RFC 9106, section 4), and the pepper of
   * new hashes.
   */
  readonly current: boolean
}

/** Argon2, with the cost and the peppers of the options. */
export interface Engine {
  /** A PHC string with its own salt. */
  hash (bytes: Uint8Array): Promise<string>
  /** Rejects for what it cannot read. */
  verify (stored: string, bytes: Uint8Array): Promise<boolean>
  /** Null for what it cannot read. */
  read (stored: string): Stored | null
}

/** The numbers of Argon2id and of version 19 in the library, whose enums are gone at run time. */
const ARGON2ID = 2
const VERSION_19 = 1

/** How the PHC string format names the key of a hash, among its parameters. */
const KEY_ID = /,keyid=([A-Za-z0-9+/]+)(?=[,$])/

const SALT_BYTES = 16
const TAG_BYTES = 32

/** Imports @node-rs/argon2. @throws BulwarkConfigError when it is not installed, or not for this platform */
export async function loadEngine ({ cost, peppers }: Pick<ResolvedPasswords, 'cost' | 'peppers'>): Promise<Engine> {
  const argon2 = await importArgon2()
  const secrets = new Map(
    peppers.map((pepper) => [pepperId(pepper), pepper === null ? {} : { secret: Buffer.from(pepper) }]),
  )
  const [[id, secret] = ['', {}]] = secrets
  const options = Object.freeze({
    memoryCost: cost.memoryKiB,
    timeCost: cost.passes,
    parallelism: cost.lanes,
    outputLen: TAG_BYTES,
    algorithm: ARGON2ID,
    version: VERSION_19,
    ...secret,
  })
  return {
    async hash (bytes) {
      const text = await argon2.hash(bytes, options)
      return id === '' ? text : text.replace(/,p=\d+/, (lanes) => `${lanes},keyid=${id}`)
    },
    async verify (stored, bytes) {
      const own = secrets.get(keyIdOf(stored))
      if (own === undefined) throw new Error('the hash has a pepper that is not here, or none')
      return await argon2.verify(stored, bytes, own)
    },
    read (stored) {
      const keyId = keyIdOf(stored)
      if (!secrets.has(keyId)) return null
      try {
        const { memoryCost, timeCost, parallelism, algorithm, version, saltLen, outputLen }: Readonly<
          Record<keyof Argon2.ParsedHashOptions, number>
        > = argon2.parseOptions(stored)
        const current = keyId === id && algorithm === ARGON2ID && version === VERSION_19 && saltLen >= SALT_BYTES &&
          outputLen >= TAG_BYTES
        return { memoryKiB: memoryCost, passes: timeCost, lanes: parallelism, current }
      } catch {
        return null
      }
    },
  }
}

/** Names a pepper without telling anything of it; the empty text is none. */
function pepperId (pepper: string | null): string {
  return pepper === null
    ? ''
    : createHmac('sha256', pepper).update('fastify-bulwark pepper id').digest('base64').slice(0, 8)
}

function keyIdOf (stored: string): string {
  return KEY_ID.exec(stored)?.[1] ?? ''
}

async function importArgon2 (): Promise<typeof Argon2> {
  try {
    // Imported here, because it is an optional peer: a service without passwords does not install it.
    return await import('@node-rs/argon2')
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
    throw new BulwarkConfigError([
      missing
        ? {
          path: 'passwords',
          message: 'The package @node-rs/argon2 is not installed.',
          fix: 'Run: npm install @node-rs/argon2',
        }
        : {
          path: 'passwords',
          message: 'The package @node-rs/argon2 cannot be loaded.',
          fix: 'It has one binary for each platform. Run on the machine of the service: npm install @node-rs/argon2',
        },
    ])
  }
}

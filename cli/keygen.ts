import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { CliError, parseFlags, UsageError, type Command } from './command.js'

const ALGORITHMS = ['HS256', 'ES256', 'EdDSA', 'RS256'] as const
type Algorithm = typeof ALGORITHMS[number]

/** RFC 7518, section 3.2: as long as the hash of HS256. */
const SECRET_BYTES = 32
const MAX_COUNT = 100
const RSA_BITS = 3072
/** What the suite reads without further options. */
const DEFAULT_NAMES = ['JWT_ACCESS_SECRET', 'JWT_REFRESH_SECRET']

const OPTIONS = {
  alg: { type: 'string' },
  count: { type: 'string' },
  env: { type: 'boolean' },
  name: { type: 'string', multiple: true },
  out: { type: 'string' },
} as const

export const keygen: Command = {
  name: 'keygen',
  summary: 'makes secrets and keys that the suite accepts',
  help: `Usage: fastify-bulwark keygen [options]

Prints a secret of ${SECRET_BYTES} random bytes as base64url, or a key pair as PEM.

  --count <n>     so many secrets, one a line (1 to ${MAX_COUNT})
  --env           as lines of a .env file: ${DEFAULT_NAMES.join(' and ')}
  --name <NAME>   as a line of a .env file with this name; may be repeated
  --alg <alg>     HS256 (default): secrets. ES256, EdDSA or RS256: a private key (PKCS #8), then its public key (SPKI)
  --out <file>    writes to a new file that only its owner can read (mode 0600), and prints nothing;
                  the public key goes to <file>.pub
  --help          this text

Examples:
  fastify-bulwark keygen --env >> .env
  fastify-bulwark keygen --alg EdDSA --out keys/access.pem
`,
  async run (args) {
    const flags = parseFlags('keygen', args, OPTIONS)
    const alg = algorithmOf(flags.alg)
    const wantsLines = flags.count !== undefined || flags.env === true || flags.name !== undefined
    if (alg !== 'HS256' && wantsLines) {
      throw new UsageError(
        '--count, --env and --name are for secrets: a PEM has several lines.',
        'Call it once for each key.\n',
      )
    }
    if (alg !== 'HS256') return printPair(alg, flags.out ?? null)
    const text = secretLines(flags.count, flags.env === true, flags.name ?? [])
    if (flags.out === undefined) return text
    writeNew(flags.out, text, 0o600)
    return ''
  },
}

function algorithmOf (text = 'HS256'): Algorithm {
  const found = ALGORITHMS.find((alg) => alg.toLowerCase() === text.toLowerCase())
  if (found === undefined) {
    throw new UsageError('--alg is none of the known algorithms.', `Write one of ${ALGORITHMS.join(', ')}.\n`)
  }
  return found
}

function secretLines (countText: string | undefined, env: boolean, names: readonly string[]): string {
  const count = countText === undefined ? null : /^[1-9]\d{0,2}$/.test(countText) ? Number(countText) : NaN
  if (count !== null && !(count <= MAX_COUNT)) {
    throw new UsageError('--count is not a number that is possible.', `Write a whole number from 1 to ${MAX_COUNT}.\n`)
  }
  if (env && names.length > 0) {
    throw new UsageError('--env beside --name.', 'Write one of them; each --name gives a line of its own.\n')
  }
  for (const [index, name] of names.entries()) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new UsageError('--name is not the name of a variable.', 'Use letters, digits and underscores.\n')
    }
    if (names.indexOf(name) !== index) {
      throw new UsageError(`--name ${name} is given twice.`, 'Each variable gets a secret of its own.\n')
    }
  }
  const all = env ? DEFAULT_NAMES.slice(0, count ?? DEFAULT_NAMES.length) : names
  if (all.length > 0 && count !== null && count !== all.length) {
    throw new UsageError(`--count ${count} does not fit ${all.length} names.`, 'Give one --name for each secret.\n')
  }
  const secret = (): string => randomBytes(SECRET_BYTES).toString('base64url')
  const lines = all.length > 0 ? all.map((name) => `${name}=${secret()}`) : Array.from({ length: count ?? 1 }, secret)
  return `${lines.join('\n')}\n`
}

function printPair (alg: Exclude<Algorithm, 'HS256'>, out: string | null): string {
  const { privateKey, publicKey } = pairOf(alg)
  if (out === null) return privateKey + publicKey
  writeNew(out, privateKey, 0o600)
  try {
    writeNew(`${out}.pub`, publicKey, 0o644)
  } catch (error) {
    // Half a pair would have to be removed by hand before the next try.
    rmSync(out, { force: true })
    throw error
  }
  return ''
}

function pairOf (alg: Exclude<Algorithm, 'HS256'>): { privateKey: string, publicKey: string } {
  const publicKeyEncoding = { type: 'spki', format: 'pem' } as const
  const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const
  switch (alg) {
    case 'ES256': return generateKeyPairSync('ec', { namedCurve: 'P-256', publicKeyEncoding, privateKeyEncoding })
    case 'EdDSA': return generateKeyPairSync('ed25519', { publicKeyEncoding, privateKeyEncoding })
    case 'RS256': return generateKeyPairSync('rsa', { modulusLength: RSA_BITS, publicKeyEncoding, privateKeyEncoding })
  }
}

/** Exclusively: neither a file that is there nor what a link points to is written to. */
function writeNew (path: string, text: string, mode: number): void {
  let descriptor: number
  try {
    descriptor = openSync(path, 'wx', mode)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
    if (code === 'EEXIST') {
      throw new CliError(
        `${JSON.stringify(path)} is there already, and keys are never overwritten.`,
        'Choose another name, or remove the file first.\n',
      )
    }
    throw new CliError(
      `${JSON.stringify(path)} cannot be written (${code}).`,
      'Check that its directory is there and may be written to.\n',
    )
  }
  try {
    writeSync(descriptor, text)
  } finally {
    closeSync(descriptor)
  }
}

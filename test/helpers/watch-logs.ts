// Loaded before each test file (scripts/run-tests.mjs): no line that any of its apps logs may hold a token, a password,
// its hash or a secret of the environment, whatever the test is about.
import { subscribe } from 'node:diagnostics_channel'
import { secretValuesOf } from '../../lib/env/config.js'

/** What a test logs to show that nothing is cleaned any more once its app has closed. */
const ON_PURPOSE = /"msg":"after the end: /

interface Logged { readonly log: object, readonly config?: Readonly<Record<string, unknown>> }
interface LogStream { write: (line: string, ...rest: unknown[]) => unknown }

const FORBIDDEN: readonly RegExp[] = [
  /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{16,}/,
  /\$argon2/,
  /Correct-horse-9|correct horse/,
]

subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { readonly fastify: Logged }
  const stream = streamOf(fastify.log)
  if (stream === null) return
  const write = stream.write.bind(stream)
  stream.write = (line, ...rest) => {
    if (!ON_PURPOSE.test(line) && holdsSecret(line, fastify)) report(line)
    return write(line, ...rest)
  }
})

/** Pino keeps it under a symbol of its own. */
function streamOf (log: object): LogStream | null {
  const symbol = Object.getOwnPropertySymbols(log).find(({ description }) => description === 'pino.stream')
  return symbol === undefined ? null : (log as Record<symbol, LogStream>)[symbol] ?? null
}

function holdsSecret (line: string, { config }: Logged): boolean {
  return FORBIDDEN.some((pattern) => pattern.test(line)) ||
    (config !== undefined && secretValuesOf(config).some((value) => line.includes(value)))
}

function report (line: string): void {
  process.exitCode = 1
  process.stderr.write(`a log line holds a secret: ${line}\n`)
}

import { BulwarkConfigError } from 'fastify-bulwark'
import { DatabaseInUseError } from './database/lock.js'

/** A mistake that a person at the terminal can fix, in words meant for them. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Runs a command. A failure goes to stderr, without a stack where a person can fix it, and the exit code is 1. */
export function run (command: () => Promise<void>): void {
  command().catch((error: unknown) => {
    process.stderr.write(`${explain(error)}\n`)
    // Not only the exit code: a half-started server may hold connections that would keep the process alive.
    process.exit(1)
  })
}

function explain (error: unknown): string {
  if (error instanceof BulwarkConfigError || error instanceof DatabaseInUseError || error instanceof UsageError) {
    return error.message
  }
  if (!(error instanceof Error)) return 'Something that is no Error was thrown.'
  return error.cause instanceof Error ? `${error.message} ${error.cause.message}` : error.stack ?? error.message
}

import { availableParallelism } from 'node:os'
import { Type, type Static } from '@sinclair/typebox'
import type { Problem } from '../response/errors.js'
import { checkOptions } from '../options/check-options.js'
import { SECRET_FIX, secretProblems } from '../options/secret-strength.js'

/**
 * What one hash may ask of the machine. More is a mistake in the unit, or a stored value that would take the process
 * down.
 */
export const MOST = Object.freeze({ memoryKiB: 1_048_576, passes: 32, lanes: 16 })

/** The equally strong choices of the OWASP Password Storage Cheat Sheet: at least so much memory for so many passes. */
const LEAST_MEMORY_KIB: readonly number[] = [47_104, 19_456, 12_288, 9_216, 7_168]
const LEAST_FIX = `At least ${
  LEAST_MEMORY_KIB.map((memory, index) => `${memory} KiB with ${index + 1}`).join(', ')
} or more passes.`

/** The current one, and earlier ones for hashes that are not renewed yet. */
const MOST_PEPPERS = 8

export const PasswordsSchema = Type.Object({
  memoryKiB: Type.Optional(
    Type.Integer({
      minimum: 7_168,
      maximum: MOST.memoryKiB,
      description: 'Memory of one hash in KiB, from 7168 to 1048576; default 19456.',
    }),
  ),
  passes: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: MOST.passes,
      description: 'Passes over the memory, from 1 to 32; default 2.',
    }),
  ),
  lanes: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: MOST.lanes,
      description: 'Lanes into which the memory is divided, from 1 to 16; default 1.',
    }),
  ),
  concurrency: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1024,
      description:
        'Hashes computed at once, from 1. Default: all but one core, and at most half the thread pool.',
    }),
  ),
  queue: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 10_000,
      description:
        'Hashes that may wait for their turn, from 0 to 10000; default 64. Further ones are refused at once.',
    }),
  ),
  pepper: Type.Optional(
    Type.Unsafe<string | readonly (string | null)[]>(
      Type.Union([
        Type.String(),
        Type.Array(Type.Union([Type.String(), Type.Null()]), { minItems: 1, maxItems: MOST_PEPPERS }),
      ], {
        description:
          'A secret that goes into every hash and is not in the database; or a list of the ' +
          'current one and those before it, null for the time without one.',
        fix: `Write a secret, or a list of 1 to ${MOST_PEPPERS}: the current one first, null for the time without one.`,
      }),
    ),
  ),
  legacy: Type.Optional(
    Type.Function([], Type.Unknown(), {
      description:
        'A function of (stored, password) that resolves to true when a stored ' +
        'value that is no Argon2 hash belongs to the password.',
    }),
  ),
}, { additionalProperties: false })

export type PasswordsOptions = Omit<Static<typeof PasswordsSchema>, 'legacy'> & {
  legacy?: (stored: string, password: string) => Promise<boolean>
}

/** What one Argon2 hash costs. */
export interface Cost {
  readonly memoryKiB: number
  readonly passes: number
  readonly lanes: number
}

/** Checked, complete and frozen. */
export interface ResolvedPasswords {
  readonly cost: Cost
  readonly concurrency: number
  readonly queue: number
  /** The one of new hashes first; null is none. */
  readonly peppers: readonly (string | null)[]
  readonly legacy: ((stored: string, password: string) => Promise<unknown>) | null
}

/** The part of the machine that hashing shares with the rest of the process. */
export interface Machine {
  readonly cores: number
  /** Of libuv's pool, which also serves files and DNS. */
  readonly threads: number
}

/** As libuv reads its pool's size: 4 without the variable, at least 1, at most 1,024. */
export function readMachine (poolSize = process.env['UV_THREADPOOL_SIZE'], cores = availableParallelism()): Machine {
  const written = poolSize === undefined ? 4 : Number.parseInt(poolSize, 10)
  return { cores, threads: Math.min(Math.max(Number.isNaN(written) ? 1 : written, 1), 1024) }
}

/** Null when a problem was added. No problem holds a pepper. */
export function resolvePasswordsOptions (
  input: unknown,
  machine: Machine,
  problems: Problem[],
): ResolvedPasswords | null {
  const before = problems.length
  const options = checkOptions(PasswordsSchema, input, 'passwords', problems)
  if (options === null) return null
  const cost = Object.freeze({
    memoryKiB: options.memoryKiB ?? 19_456,
    passes: options.passes ?? 2,
    lanes: options.lanes ?? 1,
  })
  if (cost.memoryKiB < leastMemory(cost.passes)) {
    problems.push({
      path: options.memoryKiB === undefined ? 'passwords.passes' : 'passwords.memoryKiB',
      message: 'Weaker than the minimum that OWASP recommends.',
      fix: LEAST_FIX,
    })
  }
  if (options.concurrency !== undefined && options.concurrency > Math.max(1, machine.threads - 1)) {
    problems.push({
      path: 'passwords.concurrency',
      message: 'This would leave no thread for files and DNS.',
      fix: 'Write less than UV_THREADPOOL_SIZE, which is 4 unless set.',
    })
  }
  const peppers = resolvePeppers(options.pepper, problems)
  if (problems.length > before) return null
  return Object.freeze({
    cost,
    concurrency: options.concurrency ?? defaultConcurrency(machine),
    queue: options.queue ?? 64,
    peppers,
    legacy: (options as PasswordsOptions).legacy ?? null,
  })
}

function resolvePeppers (written: PasswordsOptions['pepper'], problems: Problem[]): readonly (string | null)[] {
  const peppers = typeof written === 'string' ? [written] : written ?? [null]
  peppers.forEach((pepper, index) => {
    const path = typeof written === 'string' ? 'passwords.pepper' : `passwords.pepper[${index}]`
    for (const message of pepper === null ? [] : secretProblems(pepper)) {
      problems.push({ path, message, fix: SECRET_FIX })
    }
    if (peppers.indexOf(pepper) < index) {
      problems.push({ path, message: 'It is in the list twice.', fix: 'Write each once, the current one first.' })
    }
  })
  return Object.freeze([...peppers])
}

function leastMemory (passes: number): number {
  return LEAST_MEMORY_KIB[Math.min(passes, LEAST_MEMORY_KIB.length) - 1] ?? Infinity
}

/** One core is left to the event loop, and half the pool to files and DNS. */
function defaultConcurrency ({ cores, threads }: Machine): number {
  return Math.max(1, Math.min(cores - 1, Math.floor(threads / 2)))
}

import { Type, type Static } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { parseDuration, type Duration } from '../options/duration.js'
import { durationOption, oneOf } from '../options/option-schema.js'
import type { Problem } from '../response/errors.js'
import { checkOptions, isPlainObject } from '../options/check-options.js'
import { isBodyPart, resolveParts, type KeyPart } from './key-parts.js'
import { createQuota, type Algorithm, type Penalty, type Quota } from './quota.js'

export type { KeyPart } from './key-parts.js'

/** What decides while Redis cannot be asked: a local engine, a refusal (503), or nobody. */
export type OnOutage = 'local' | 'closed' | 'open'

/** True: this request is not counted by this limit. It must answer at once, without a promise. */
export type Skip = (request: FastifyRequest) => boolean

/** One limit, as a user writes it. */
export interface Limit {
  /** Requests (units, where a request costs more than one) in any window. */
  readonly limit: number
  readonly window: Duration
  /** Several parts together make one caller: `['ip', { body: 'email' }]`. */
  readonly by: KeyPart | readonly KeyPart[]
  readonly algorithm?: Algorithm
  /** `gcra` only: the units that may come at once; the limit when left out. */
  readonly burst?: number
  /** Units that one request takes. */
  readonly cost?: number
  readonly count?: 'all' | 'failures'
  readonly mode?: 'enforce' | 'shadow'
  readonly onOutage?: OnOutage
  /** Whether the `RateLimit` fields show this limit. Limits with a body part are never shown. */
  readonly expose?: boolean
  /** After so many refusals the caller is banned, for longer each time. */
  readonly penalty?: { readonly after: number, readonly within: Duration, readonly bans: readonly Duration[] }
  readonly skip?: Skip
}

const MAX_EXACT_LIMIT = 1000
const MAX_DEFAULT_EXACT_LIMIT = 64
const MAX_WINDOW_MS = 366 * 86_400_000
const MAX_PENALTY_AFTER = 1000
const MAX_BANS = 16

const PenaltySchema = Type.Object({
  after: Type.Integer({
    minimum: 1,
    maximum: MAX_PENALTY_AFTER,
    description: `Refusals that lead to a ban: a whole number from 1 to ${MAX_PENALTY_AFTER}.`,
  }),
  within: durationOption("How long refusals and earlier bans are remembered: '10m'."),
  bans: Type.Array(durationOption("Write each ban as a duration with a unit: '1m'."), {
    minItems: 1,
    maxItems: MAX_BANS,
    description: `The first ban, the second and so on, 1 to ${MAX_BANS}: ['1m', '10m', '1h'].`,
  }),
}, { additionalProperties: false, description: "Write { after: 5, within: '10m', bans: ['1m', '10m', '1h'] }." })

const LimitSchema = Type.Object({
  limit: Type.Integer({
    minimum: 1,
    maximum: 1_000_000_000,
    description: 'Requests in any window: a whole number from 1.',
  }),
  window: durationOption("Write the window as a duration with a unit: '30s', '15m', '1h'."),
  by: Type.Unknown({
    description:
      "Say who is counted: 'ip', 'user', 'apiKey', { body: 'email' }, { header: 'x-tenant' } or a list of these.",
  }),
  algorithm: Type.Optional(
    oneOf(
      `How to count; exact up to a limit of ${MAX_DEFAULT_EXACT_LIMIT} and sliding above when left out.`,
      'exact',
      'sliding',
      'gcra',
      'fixed',
    ),
  ),
  burst: Type.Optional(
    Type.Integer({
      minimum: 1,
      description: 'With gcra, the requests that may come at once: a whole number from 1 to the limit.',
    }),
  ),
  cost: Type.Optional(
    Type.Integer({ minimum: 1, description: 'What one request takes: a whole number from 1 to the limit.' }),
  ),
  count: Type.Optional(oneOf('Count every request, or only those that fail.', 'all', 'failures')),
  mode: Type.Optional(oneOf('A shadow limit counts and reports but never refuses.', 'enforce', 'shadow')),
  onOutage: Type.Optional(oneOf('What decides while Redis cannot be asked.', 'local', 'closed', 'open')),
  expose: Type.Optional(Type.Boolean({ description: 'Write false to keep the limit out of the RateLimit fields.' })),
  penalty: Type.Optional(PenaltySchema),
  skip: Type.Optional(
    Type.Unsafe<Skip>(Type.Unknown({ description: 'Write a synchronous function (request) => boolean.' })),
  ),
}, { additionalProperties: false, description: "Write { limit: 100, window: '15m', by: 'ip' }, or a list of these." })

/** Where a limit is decided: the earliest place at which all its key parts are known. */
export type LimitPhase = 'limit-address' | 'limit-user' | 'limit-body'

/** A checked limit, complete and frozen. */
export interface ResolvedLimit {
  readonly policy: string
  /** Its name in headers and events: the policy's, with `:2`, `:3` … for the further limits of one policy. */
  readonly item: string
  readonly position: number
  readonly quota: Quota
  readonly parts: readonly KeyPart[]
  readonly phase: LimitPhase
  readonly failuresOnly: boolean
  readonly onOutage: OnOutage
  /** Whether callers are shown its numbers. */
  readonly exposed: boolean
  readonly skip: Skip | null
}

export type Policies = ReadonlyMap<string, readonly ResolvedLimit[]>

export type BuiltInPolicy = 'global' | 'auth' | 'login' | 'reports'

/**
 * The sign-in policy has three limits because each alone leaves a door open: one address tries many passwords of one
 * account, one address sprays many accounts, many addresses try one account. The last is in shadow: enforced, it would
 * let anyone lock a victim out.
 */
const BUILT_IN: Readonly<Record<BuiltInPolicy, Limit | readonly Limit[]>> = Object.freeze({
  global: { limit: 100, window: '15m', by: 'ip' },
  auth: { limit: 10, window: '15m', by: 'ip' },
  login: [
    { limit: 5, window: '15m', by: ['ip', { body: 'email' }], count: 'failures' },
    { limit: 30, window: '15m', by: 'ip', count: 'failures' },
    { limit: 100, window: '1h', by: { body: 'email' }, count: 'failures', mode: 'shadow' },
  ],
  // Apart from `global`: a page that breaks its own policy must not use up its visitor's requests.
  reports: { limit: 100, window: '15m', by: 'ip' },
})

/** No `:` in a policy's name, so that `login:2` can only be the second limit of `login`. */
const POLICY_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/

/** The built-in policies and the written ones; a written one of the same name replaces the built-in one as a whole. */
export function resolvePolicies (
  written: Readonly<Record<string, unknown>>,
  path: string,
  problems: Problem[],
): Policies {
  const policies = new Map<string, readonly ResolvedLimit[]>()
  for (const [name, limits] of Object.entries({ ...BUILT_IN, ...written })) {
    const where = `${path}.${name}`
    if (!POLICY_NAME.test(name)) {
      problems.push({
        path: where,
        message: 'This name cannot stand in a header.',
        fix: 'Begin with a letter; then letters, digits, - and _, at most 64 characters.',
      })
      continue
    }
    if (!Array.isArray(limits)) {
      const limit = resolveLimit(limits, name, 0, where, problems)
      policies.set(name, Object.freeze(limit === null ? [] : [limit]))
      continue
    }
    if (limits.length === 0)
      {problems.push({
        path: where,
        message: 'A policy without a limit limits nothing.',
        fix: 'Write at least one limit, or leave the policy out.',
      })}
    const list = limits.map((limit: unknown, index) => resolveLimit(limit, name, index, `${where}[${index}]`, problems))
    policies.set(name, Object.freeze(list.filter((limit) => limit !== null)))
  }
  return policies
}

function resolveLimit (
  input: unknown,
  policy: string,
  position: number,
  where: string,
  problems: Problem[],
): ResolvedLimit | null {
  const before = problems.length
  const limit = checkOptions(LimitSchema, input, where, problems)
  const parts = isPlainObject(input) && input['by'] !== undefined
    ? resolveParts(input['by'], `${where}.by`, problems)
    : []
  if (limit === null) return null
  const shadow = limit.mode === 'shadow'
  const algorithm = limit.algorithm ?? (limit.limit <= MAX_DEFAULT_EXACT_LIMIT ? 'exact' : 'sliding')
  const windowMs = checkedDuration(limit.window, `${where}.window`, problems)
  checkNumbers(limit, algorithm, where, problems)
  checkModes(limit, parts, where, problems)
  const penalty = resolvePenalty(limit.penalty, `${where}.penalty`, problems)
  if (problems.length > before) return null
  const { burst = limit.limit, cost = 1 } = limit
  return Object.freeze({
    policy,
    item: position === 0 ? policy : `${policy}:${position + 1}`,
    position,
    quota: createQuota(algorithm, limit.limit, windowMs, shadow, { burst, cost, penalty }),
    parts,
    phase: phaseOf(parts),
    failuresOnly: limit.count === 'failures',
    onOutage: limit.onOutage ?? 'local',
    exposed: limit.expose !== false && !shadow && !parts.some(isBodyPart),
    skip: limit.skip ?? null,
  })
}

type CheckedLimit = Static<typeof LimitSchema>

function checkNumbers (limit: CheckedLimit, algorithm: Algorithm, where: string, problems: Problem[]): void {
  if (algorithm === 'exact' && limit.limit > MAX_EXACT_LIMIT) {
    problems.push({
      path: `${where}.algorithm`,
      message: `exact keeps a stamp of each request, at most ${MAX_EXACT_LIMIT} a caller.`,
      fix: "Leave algorithm out, or write 'sliding'.",
    })
  }
  const { burst, cost = 1 } = limit
  if (burst !== undefined && algorithm !== 'gcra') {
    problems.push({
      path: `${where}.burst`,
      message: `${algorithm} has no burst.`,
      fix: "Write algorithm: 'gcra', or leave burst out.",
    })
  } else if (burst !== undefined && burst > limit.limit) {
    problems.push({
      path: `${where}.burst`,
      message: 'More at once than the limit admits in a window.',
      fix: `Write at most the limit, ${limit.limit}.`,
    })
  } else if (cost > (burst ?? limit.limit)) {
    // Such a request would be refused for ever.
    const roof = burst === undefined ? `the limit, ${limit.limit}` : `the burst, ${burst}`
    problems.push({ path: `${where}.cost`, message: 'No request could ever pass.', fix: `Write at most ${roof}.` })
  }
}

function checkModes (limit: CheckedLimit, parts: readonly KeyPart[], where: string, problems: Problem[]): void {
  const shadow = limit.mode === 'shadow'
  if (shadow && limit.onOutage === 'closed') {
    problems.push({
      path: `${where}.onOutage`,
      message: 'A shadow limit never refuses, so it cannot be closed.',
      fix: "Leave onOutage out, or set mode to 'enforce'.",
    })
  }
  if (shadow && limit.penalty !== undefined) {
    problems.push({
      path: `${where}.penalty`,
      message: 'A shadow limit never refuses, so it never bans.',
      fix: "Leave penalty out, or set mode to 'enforce'.",
    })
  }
  if (limit.expose === true && parts.some(isBodyPart)) {
    problems.push({
      path: `${where}.expose`,
      message: 'It counts an account, and its numbers would tell a stranger how often somebody else tried.',
      fix: 'Leave expose out: a limit with a body part stays hidden.',
    })
  } else if (limit.expose === true && shadow) {
    problems.push({
      path: `${where}.expose`,
      message: 'A shadow limit refuses nobody, so a client has nothing to heed.',
      fix: "Leave expose out, or set mode to 'enforce'.",
    })
  }
  if (limit.algorithm === 'gcra' && limit.count === 'failures') {
    problems.push({
      path: `${where}.count`,
      message: 'gcra keeps one stamp for all requests, so it cannot tell which one to give back.',
      fix: "Write algorithm: 'exact' or 'sliding' to count failures.",
    })
  }
  checkSkip(limit.skip, `${where}.skip`, problems)
}

/** A promise is always truthy: an asynchronous `skip` would skip everybody. */
function checkSkip (skip: unknown, where: string, problems: Problem[]): void {
  if (skip === undefined) return
  const kind = Object.prototype.toString.call(skip)
  if (kind === '[object Function]') return
  const message = typeof skip === 'function'
    ? 'It is asynchronous or a generator, and is asked for each request.'
    : 'Not a function.'
  problems.push({ path: where, message, fix: 'Write a synchronous function (request) => boolean.' })
}

function resolvePenalty (input: CheckedLimit['penalty'], where: string, problems: Problem[]): Penalty | null {
  if (input === undefined) return null
  const withinMs = checkedDuration(input.within, `${where}.within`, problems)
  const bansMs = input.bans.map((ban, index) => checkedDuration(ban, `${where}.bans[${index}]`, problems))
  for (const [index, ban] of bansMs.entries()) {
    if (ban >= (bansMs[index - 1] ?? 0)) continue
    problems.push({
      path: `${where}.bans[${index}]`,
      message: 'Shorter than the ban before it.',
      fix: 'Write the bans from the shortest to the longest.',
    })
  }
  return Object.freeze({ after: input.after, withinMs, bansMs: Object.freeze(bansMs) })
}

function checkedDuration (text: Duration, where: string, problems: Problem[]): number {
  const milliseconds = parseDuration(text)
  if (milliseconds > MAX_WINDOW_MS)
    {problems.push({ path: where, message: 'Longer than a year.', fix: "Write at most '366d'." })}
  return milliseconds
}

function phaseOf (parts: readonly KeyPart[]): LimitPhase {
  if (parts.some(isBodyPart)) return 'limit-body'
  return parts.includes('user') ? 'limit-user' : 'limit-address'
}

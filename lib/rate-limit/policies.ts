import { parseDuration, type Duration } from '../options/duration.js'
import type { Problem } from '../response/errors.js'
import { checkOptions, isPlainObject } from '../options/check-options.js'
import { isBodyPart, resolveParts } from './key-parts.js'
import { LimitSchema, MAX_DEFAULT_EXACT_LIMIT, type CheckedLimit, type KeyPart, type Limit, type OnOutage,
  type Skip } from './options.js'
import { createQuota, type Algorithm, type Penalty, type Quota } from './quota.js'

const MAX_EXACT_LIMIT = 1000
const MAX_WINDOW_MS = 366 * 86_400_000

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

/** The limits of each policy by its name, built-in ones included. */
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
        message: 'A policy name stands in headers, and this one cannot.',
        fix: 'Begin with a letter; then letters, digits, - and _, at most 64 characters.',
      })
      continue
    }
    const isList = Array.isArray(limits)
    const list: readonly unknown[] = isList ? limits : [limits]
    if (list.length === 0) {
      const fix = 'Write at least one limit, or leave the policy out.'
      problems.push({ path: where, message: 'The policy has no limit.', fix })
    }
    const resolved = list.map((limit, index) =>
      resolveLimit(limit, name, index, isList ? `${where}[${index}]` : where, problems)
    )
    policies.set(name, Object.freeze(resolved.filter((limit) => limit !== null)))
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
  const report: Report = (option, message, fix) => { problems.push({ path: `${where}.${option}`, message, fix }) }
  checkNumbers(limit, algorithm, report)
  checkModes(limit, parts, report)
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

/** Adds a problem with one option of the limit. */
type Report = (option: keyof CheckedLimit, message: string, fix: string) => void

function checkNumbers ({ limit, burst, cost = 1 }: CheckedLimit, algorithm: Algorithm, report: Report): void {
  if (algorithm === 'exact' && limit > MAX_EXACT_LIMIT) {
    const message = `exact keeps a stamp of each request, at most ${MAX_EXACT_LIMIT} a caller.`
    report('algorithm', message, "Leave algorithm out, or write 'sliding'.")
  }
  if (burst !== undefined && algorithm !== 'gcra') {
    report('burst', `${algorithm} has no burst.`, "Write algorithm: 'gcra', or leave burst out.")
  } else if (burst !== undefined && burst > limit) {
    report('burst', 'The burst is larger than the limit.', `Write at most the limit, ${limit}.`)
  } else if (cost > (burst ?? limit)) {
    const most = burst === undefined ? `the limit, ${limit}` : `the burst, ${burst}`
    report('cost', 'A request that costs so much is always refused.', `Write at most ${most}.`)
  }
}

function checkModes (limit: CheckedLimit, parts: readonly KeyPart[], report: Report): void {
  const shadow = limit.mode === 'shadow'
  const fixFor = (option: string): string => `Leave ${option} out, or set mode to 'enforce'.`
  if (shadow && limit.onOutage === 'closed') {
    report('onOutage', 'A shadow limit never refuses, so it cannot be closed.', fixFor('onOutage'))
  }
  if (shadow && limit.penalty !== undefined) {
    report('penalty', 'A shadow limit never refuses, so it never bans.', fixFor('penalty'))
  }
  if (limit.expose === true && parts.some(isBodyPart)) {
    const message = 'This limit counts an account: its numbers would tell strangers how often the account was tried.'
    report('expose', message, 'Leave expose out: a limit with a body part stays hidden.')
  } else if (limit.expose === true && shadow) {
    report('expose', 'A shadow limit never refuses, so clients need not know it.', fixFor('expose'))
  }
  if (limit.algorithm === 'gcra' && limit.count === 'failures') {
    const message = 'gcra keeps one stamp for all requests, so it cannot tell which one to give back.'
    report('count', message, "Write algorithm: 'exact' or 'sliding' to count failures.")
  }
  // A promise is always truthy: an asynchronous `skip` would skip every request.
  if (limit.skip !== undefined && Object.prototype.toString.call(limit.skip) !== '[object Function]') {
    const message = typeof limit.skip === 'function'
      ? 'skip must answer at once: this one is asynchronous or a generator.'
      : 'Not a function.'
    report('skip', message, 'Write a synchronous function (request) => boolean.')
  }
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
  if (milliseconds > MAX_WINDOW_MS) {
    problems.push({ path: where, message: 'Longer than 366 days.', fix: "Write at most '366d'." })
  }
  return milliseconds
}

function phaseOf (parts: readonly KeyPart[]): LimitPhase {
  if (parts.some(isBodyPart)) return 'limit-body'
  return parts.includes('user') ? 'limit-user' : 'limit-address'
}

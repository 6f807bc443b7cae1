import { Type } from '@sinclair/typebox'
import { DURATION_PATTERN, parseDuration, type Duration } from '../duration.js'
import type { Problem } from '../errors.js'
import { checkOptions, isPlainObject, nearest } from '../options.js'
import { createQuota, type Quota } from './quota.js'

/** What a caller is told apart by. */
export type KeyPart = 'ip' | 'user' | { readonly body: string } | { readonly header: string }

/** What decides while Redis cannot be asked: a local engine, a refusal (503), or nobody. */
export type OnOutage = 'local' | 'closed' | 'open'

/** One limit, as a user writes it. */
export interface Limit {
  /** Requests in any window. */
  readonly limit: number
  readonly window: Duration
  /** Several parts together make one caller: `['ip', { body: 'email' }]`. */
  readonly by: KeyPart | readonly KeyPart[]
  readonly algorithm?: 'exact' | 'sliding'
  readonly count?: 'all' | 'failures'
  readonly mode?: 'enforce' | 'shadow'
  readonly onOutage?: OnOutage
}

const MAX_EXACT_LIMIT = 1000
const MAX_DEFAULT_EXACT_LIMIT = 64
const MAX_WINDOW_MS = 366 * 86_400_000

const oneOf = <const T extends readonly string[]>(description: string, ...names: T): ReturnType<typeof Type.Unsafe<T[number]>> =>
  Type.Unsafe<T[number]>(Type.Union(names.map((name) => Type.Literal(name)), { description: `${description} Write one of: ${names.join(', ')}.` }))

const LimitSchema = Type.Object({
  limit: Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'Requests in any window: a whole number from 1.' }),
  window: Type.Unsafe<Duration>(Type.String({ pattern: DURATION_PATTERN, description: 'Write the window as a duration with a unit: \'30s\', \'15m\', \'1h\'.' })),
  by: Type.Unknown({ description: 'Say who is counted: \'ip\', \'user\', { body: \'email\' }, { header: \'x-api-key\' } or a list of these.' }),
  algorithm: Type.Optional(oneOf(`How to count; exact up to a limit of ${MAX_DEFAULT_EXACT_LIMIT} and sliding above when left out.`, 'exact', 'sliding')),
  count: Type.Optional(oneOf('Count every request, or only those that fail.', 'all', 'failures')),
  mode: Type.Optional(oneOf('A shadow limit counts and reports but never refuses.', 'enforce', 'shadow')),
  onOutage: Type.Optional(oneOf('What decides while Redis cannot be asked.', 'local', 'closed', 'open')),
}, { additionalProperties: false })

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
}

export type Policies = ReadonlyMap<string, readonly ResolvedLimit[]>

export type BuiltInPolicy = 'global' | 'auth' | 'login'

/**
 * The sign-in policy has three limits because each alone leaves a door open: one address tries many passwords of one
 * account, one address sprays many accounts, many addresses try one account. The last is in shadow: enforced, it would let anyone
 * lock a victim out.
 */
const BUILT_IN: Readonly<Record<BuiltInPolicy, Limit | readonly Limit[]>> = Object.freeze({
  global: { limit: 100, window: '15m', by: 'ip' },
  auth: { limit: 10, window: '15m', by: 'ip' },
  login: [
    { limit: 5, window: '15m', by: ['ip', { body: 'email' }], count: 'failures' },
    { limit: 30, window: '15m', by: 'ip', count: 'failures' },
    { limit: 100, window: '1h', by: { body: 'email' }, count: 'failures', mode: 'shadow' },
  ],
})

/** No `:` in a policy's name, so that `login:2` can only be the second limit of `login`. */
const POLICY_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/

/** The built-in policies and the written ones; a written one of the same name replaces the built-in one as a whole. */
export function resolvePolicies (written: Readonly<Record<string, unknown>>, path: string, problems: Problem[]): Policies {
  const policies = new Map<string, readonly ResolvedLimit[]>()
  for (const [name, limits] of Object.entries({ ...BUILT_IN, ...written })) {
    const where = `${path}.${name}`
    if (!POLICY_NAME.test(name)) {
      problems.push({ path: where, message: 'This name cannot stand in a header.', mend: 'Begin with a letter; then letters, digits, - and _, at most 64 characters.' })
      continue
    }
    if (!Array.isArray(limits)) {
      const limit = resolveLimit(limits, name, 0, where, problems)
      policies.set(name, Object.freeze(limit === null ? [] : [limit]))
      continue
    }
    if (limits.length === 0) problems.push({ path: where, message: 'A policy without a limit limits nothing.', mend: 'Write at least one limit, or leave the policy out.' })
    const list = limits.map((limit: unknown, index) => resolveLimit(limit, name, index, `${where}[${index}]`, problems))
    policies.set(name, Object.freeze(list.filter((limit) => limit !== null)))
  }
  return policies
}

function resolveLimit (input: unknown, policy: string, position: number, where: string, problems: Problem[]): ResolvedLimit | null {
  const before = problems.length
  const limit = checkOptions(LimitSchema, input, where, problems)
  const parts = isPlainObject(input) && input['by'] !== undefined ? resolveParts(input['by'], `${where}.by`, problems) : []
  if (limit === null) return null
  const shadow = limit.mode === 'shadow'
  const algorithm = limit.algorithm ?? (limit.limit <= MAX_DEFAULT_EXACT_LIMIT ? 'exact' : 'sliding')
  const windowMs = parseDuration(limit.window)
  if (windowMs > MAX_WINDOW_MS) problems.push({ path: `${where}.window`, message: 'Longer than a year.', mend: 'Write at most \'366d\'.' })
  if (algorithm === 'exact' && limit.limit > MAX_EXACT_LIMIT) {
    problems.push({ path: `${where}.algorithm`, message: `exact keeps a stamp of each request, at most ${MAX_EXACT_LIMIT} a caller.`, mend: 'Leave algorithm out, or write \'sliding\'.' })
  }
  if (shadow && limit.onOutage === 'closed') {
    problems.push({ path: `${where}.onOutage`, message: 'A shadow limit never refuses, so it cannot be closed.', mend: 'Leave onOutage out, or set mode to \'enforce\'.' })
  }
  if (problems.length > before) return null
  return Object.freeze({
    policy,
    item: position === 0 ? policy : `${policy}:${position + 1}`,
    position,
    quota: createQuota(algorithm, limit.limit, windowMs, shadow),
    parts: Object.freeze(parts),
    phase: phaseOf(parts),
    failuresOnly: limit.count === 'failures',
    onOutage: limit.onOutage ?? 'local',
  })
}

function phaseOf (parts: readonly KeyPart[]): LimitPhase {
  if (parts.some((part) => typeof part === 'object' && 'body' in part)) return 'limit-body'
  return parts.includes('user') ? 'limit-user' : 'limit-address'
}

const PART_MEND = 'Write \'ip\', \'user\', { body: \'email\' }, { header: \'x-api-key\' } or a list of these.'
/** RFC 9110, section 5.6.2: the characters of a header's name. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

function resolveParts (input: unknown, where: string, problems: Problem[]): KeyPart[] {
  const list: readonly unknown[] = Array.isArray(input) ? input : [input]
  if (list.length === 0) problems.push({ path: where, message: 'Nobody is told apart.', mend: PART_MEND })
  const parts: KeyPart[] = []
  const seen = new Set<string>()
  for (const [index, written] of list.entries()) {
    const at = Array.isArray(input) ? `${where}[${index}]` : where
    const part = resolvePart(written, at, problems)
    if (part === null) continue
    const name = JSON.stringify(part)
    if (seen.has(name)) problems.push({ path: at, message: 'The same part twice.', mend: 'Name each part once.' })
    seen.add(name)
    parts.push(part)
  }
  return parts
}

function resolvePart (part: unknown, where: string, problems: Problem[]): KeyPart | null {
  if (part === 'ip' || part === 'user') return part
  if (typeof part === 'string') {
    const near = nearest(part, ['ip', 'user'])
    problems.push({ path: where, message: 'Unknown key part.', mend: near === null ? PART_MEND : `Did you mean '${near}'?` })
    return null
  }
  if (isPlainObject(part)) {
    const [[kind, name] = [], ...more] = Object.entries(part).filter(([, value]) => value !== undefined)
    if (more.length === 0 && typeof name === 'string' && name !== '') {
      if (kind === 'body') return Object.freeze({ body: name })
      if (kind === 'header' && HEADER_NAME.test(name)) return Object.freeze({ header: name.toLowerCase() })
    }
  }
  problems.push({ path: where, message: 'Unknown key part.', mend: PART_MEND })
  return null
}

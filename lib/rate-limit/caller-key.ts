import { isIP } from 'node:net'
import { Type } from '@sinclair/typebox'
import type { Problem } from '../response/errors.js'
import { checkOptions } from '../options/check-options.js'
import { nameOfPart } from './key-parts.js'
import type { KeySource } from './keys.js'
import type { KeyPart } from './options.js'
import type { ResolvedLimit } from './policies.js'

/** Whom a policy counts, in the policy's own parts. */
export interface Caller {
  readonly ip?: string
  /** The user's id; null for a caller who is not signed in, who counts by `ip`. */
  readonly user?: string | null
  /** The key itself; null for a caller without one, who counts by `ip`. */
  readonly apiKey?: string | null
  readonly header?: Readonly<Record<string, string>>
  readonly body?: Readonly<Record<string, unknown>>
}

const nullable = (description: string): ReturnType<typeof Type.Union> =>
  Type.Union([Type.String({ minLength: 1 }), Type.Null()], { description })

const CallerSchema = Type.Object({
  ip: Type.Optional(Type.String({ description: 'Write an IP address.' })),
  user: Type.Optional(nullable('Write the user\'s id, or null for a caller who is not signed in.')),
  apiKey: Type.Optional(nullable('Write the API key, or null for a caller without one.')),
  header: Type.Optional(Type.Record(Type.String(), Type.String(), { description: 'Write { name: value }.' })),
  body: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: 'Write { field: value }.' })),
}, {
  additionalProperties: false,
  description: 'Write { ip, user, apiKey, header, body }, as far as the policy counts by them.',
})

/**
 * What the limits' keys are made of for this caller. Parts that the caller does not name come from the request, if one
 * is given.
 * @throws TypeError that names what is wrong or missing; it repeats no value.
 */
export function sourceOf (
  caller: unknown,
  limits: readonly ResolvedLimit[],
  apiKeyHeader: string,
  request: KeySource | null,
): KeySource {
  const problems: Problem[] = []
  // The schema says no more than the interface: what it lets through is one.
  const checked = checkOptions(CallerSchema, caller, 'caller', problems) as Caller | null
  if (checked?.ip !== undefined && isIP(checked.ip) === 0) {
    problems.push({ path: 'caller.ip', message: 'Not an IP address.', fix: 'Write an address such as 192.0.2.1.' })
  }
  const found = headersOf(checked ?? {}, apiKeyHeader)
  if (checked !== null && request === null) problems.push(...missingParts(checked, found, limits))
  if (checked === null || problems.length > 0) {
    throw new TypeError(problems.map(({ path, message, fix }) => `${path}: ${message} ${fix}`).join('\n'))
  }
  const { ip, user, body } = checked
  const inherited = typeof request?.body === 'object' ? request.body : undefined
  return {
    ip: ip ?? request?.ip,
    headers: { ...request?.headers, ...found },
    body: body === undefined ? request?.body : { ...inherited, ...body },
    auth: user === undefined ? request?.auth ?? null : user === null ? null : { userId: user },
  }
}

function headersOf ({ header = {}, apiKey }: Caller, apiKeyHeader: string): Record<string, string | undefined> {
  const found: Record<string, string | undefined> = {}
  for (const [name, value] of Object.entries(header)) found[name.toLowerCase()] = value
  if (apiKey !== undefined) found[apiKeyHeader] = apiKey ?? undefined
  return found
}

function missingParts (
  caller: Caller,
  headers: Readonly<Record<string, string | undefined>>,
  limits: readonly ResolvedLimit[],
): Problem[] {
  const missing = new Map<string, string>()
  for (const { item, parts } of limits) {
    for (const part of parts) if (!isNamed(caller, headers, part)) missing.set(nameOfPart(part), item)
    const byAddress = parts.includes('user') && caller.user === null ||
      parts.includes('apiKey') && caller.apiKey === null
    if (byAddress && caller.ip === undefined) missing.set('ip', item)
  }
  return [...missing].map(([name, item]) => ({
    path: `caller.${name}`,
    message: `Missing: "${item}" counts by it.`,
    fix: 'Name every part of the policy.',
  }))
}

function isNamed (caller: Caller, headers: Readonly<Record<string, string | undefined>>, part: KeyPart): boolean {
  if (typeof part === 'string') return caller[part] !== undefined
  if ('body' in part) return caller.body !== undefined && Object.hasOwn(caller.body, part.body)
  return headers[part.header] !== undefined
}

import { Type, type Static } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { CIDR_FIX } from '../net/cidr.js'
import type { Duration } from '../options/duration.js'
import { durationOption, oneOf } from '../options/option-schema.js'
import type { RedisOption } from '../redis/connection.js'
import type { Algorithm } from './quota.js'

/** What a caller is counted by. */
export type KeyPart = 'ip' | 'user' | 'apiKey' | { readonly body: string } | { readonly header: string }

/** While Redis cannot be asked: this process counts, the request is refused (503), or it is let through. */
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

export const MAX_DEFAULT_EXACT_LIMIT = 64
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

export const LimitSchema = Type.Object({
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
  algorithm: Type.Optional(oneOf(
    `How to count; exact up to a limit of ${MAX_DEFAULT_EXACT_LIMIT} and sliding above when left out.`,
    'exact',
    'sliding',
    'gcra',
    'fixed',
  )),
  burst: Type.Optional(Type.Integer({
    minimum: 1,
    description: 'With gcra, the requests that may come at once: a whole number from 1 to the limit.',
  })),
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

/** A limit whose options have the right types; `by` is read by itself. */
export type CheckedLimit = Static<typeof LimitSchema>

/** Where the counts are kept; the same for the plugin and for `createRateLimitStore`. */
export const STORE_OPTIONS = {
  keySecret: Type.Optional(Type.String({
    minLength: 32,
    description:
      'Hides who is counted: at least 32 characters, the same in all instances. ' +
      'Default: derived from app.config.JWT_ACCESS_SECRET.',
  })),
  keyPrefix: Type.Optional(Type.String({
    pattern: '^[!-~]{1,64}$',
    description: "Begins every Redis key: 1 to 64 printable ASCII characters without spaces. Default: 'bulwark:rl:'.",
  })),
  deadline: Type.Optional(durationOption("How long a request waits for Redis, with a unit: '50ms' (default).")),
}

export const RateLimitOptionsSchema = Type.Object({
  policies: Type.Optional(Type.Record(Type.String(), Type.Unknown(), {
    description:
      'Write { name: { limit, window, by } } or { name: [limit, limit] }. ' +
      'The names global, auth, login and reports replace the built-in policies.',
  })),
  redis: Type.Optional(Type.Unsafe<RedisOption | false>(Type.Unknown({
    description:
      'A redis:// or rediss:// URL, { sentinels, name }, { cluster }, an ioredis client without offline queue, ' +
      'or false to count in memory. Default: app.config.REDIS_URL, else memory.',
  }))),
  allowMemoryStore: Type.Optional(
    Type.Boolean({ description: 'true lets production count in memory: right when exactly one process serves.' }),
  ),
  ...STORE_OPTIONS,
  failureStatuses: Type.Optional(
    Type.Array(Type.Integer({ minimum: 200, maximum: 599, description: 'Write a whole number from 200 to 599.' }), {
      minItems: 1,
      description:
        "Statuses that limits with count 'failures' count: a list of whole numbers from 200 to 599. " +
        'Default: 400, 401, 403, 422. Server errors always count.',
    }),
  ),
  apiKeyHeader: Type.Optional(
    Type.String({ description: "The header that limits by 'apiKey' read. Default: 'x-api-key'." }),
  ),
  allow: Type.Optional(Type.Array(Type.String({ description: CIDR_FIX }), {
    description: "Addresses that no limit holds: a list of CIDR ranges such as '10.0.0.0/8'.",
  })),
  deny: Type.Optional(Type.Array(Type.String({ description: CIDR_FIX }), {
    description: "Addresses that every route refuses (403): a list of CIDR ranges such as '192.0.2.0/24'.",
  })),
}, { additionalProperties: false })

/** Options whose types are right; the policies are read by themselves. */
export type CheckedOptions = Static<typeof RateLimitOptionsSchema>

/** Options of the rate-limit plugin; `P` are the names of the service's own policies. */
export type RateLimitOptions<P extends string = string> = Omit<CheckedOptions, 'policies'> & {
  policies?: Readonly<Record<P, Limit | readonly Limit[]>>
}

/** What the `rateLimit` key of a route or a scope takes; `N` are the known policy names. */
export type RateLimitRouteOptions<N extends string = string> = readonly N[] | { readonly only: readonly N[] } | false

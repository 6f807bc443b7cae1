import { parseDuration } from '../options/duration.js'
import type { Boot } from '../policy/plugin.js'
import type { Problem } from '../response/errors.js'
import { resolveRedisSource, type RedisSource } from '../redis/connection.js'
import { isHeaderName } from './key-parts.js'
import { resolveAddressLists, type AddressLists } from './address-lists.js'
import type { CheckedOptions } from './options.js'
import { resolvePolicies, type Policies } from './policies.js'

/** Checked options: complete, frozen. */
export interface ResolvedRateLimitPolicy {
  readonly policies: Policies
  /** Null counts in the memory of this process. */
  readonly redis: RedisSource | null
  /** What the key secret is derived from; null draws a random one. */
  readonly keySecret: string | null
  readonly keyPrefix: string
  readonly deadlineMs: number
  readonly failureStatuses: ReadonlySet<number>
  /** In lower case. */
  readonly apiKeyHeader: string
  /** Null when both lists are empty. */
  readonly lists: AddressLists | null
  /** The ranges that no limit holds, as they were written. */
  readonly allow: readonly string[]
}

const MAX_DEADLINE_MS = 10_000
const MIN_SECRET_LENGTH = 32

/** Resolves options whose types are right; everything else that is wrong with them becomes a problem. */
export function resolveRateLimit (
  input: CheckedOptions,
  boot: Boot,
  path: string,
  problems: Problem[],
): ResolvedRateLimitPolicy {
  const policies = resolvePolicies(input.policies ?? {}, `${path}.policies`, problems)
  const redis = resolveRedisSource(input.redis, boot.config, `${path}.redis`, problems)
  if (redis === null && boot.production && input.allowMemoryStore !== true && noneUnder(`${path}.redis`, problems)) {
    problems.push({
      path: `${path}.redis`,
      message: 'In production the memory store would count in each process on its own, and forget at each restart.',
      fix: 'Set REDIS_URL or rateLimit.redis; or, if one process serves alone, write allowMemoryStore: true.',
    })
  }
  const deadlineMs = parseDuration(input.deadline ?? '50ms')
  if (deadlineMs > MAX_DEADLINE_MS) {
    problems.push({
      path: `${path}.deadline`,
      message: 'Requests would wait that long while Redis does not answer.',
      fix: "Write at most '10s'; '50ms' is the default.",
    })
  }
  return Object.freeze({
    policies,
    redis,
    keySecret: resolveSecret(input.keySecret, redis !== null, boot, path, problems),
    keyPrefix: input.keyPrefix ?? 'bulwark:rl:',
    deadlineMs,
    failureStatuses: new Set(input.failureStatuses ?? [400, 401, 403, 422]),
    apiKeyHeader: resolveApiKeyHeader(input.apiKeyHeader ?? 'x-api-key', `${path}.apiKeyHeader`, problems),
    lists: resolveAddressLists(input.allow ?? [], input.deny ?? [], path, problems),
    allow: Object.freeze([...input.allow ?? []]),
  })
}

function resolveApiKeyHeader (name: string, path: string, problems: Problem[]): string {
  if (!isHeaderName(name)) {
    problems.push({
      path,
      message: 'Not the name of a header.',
      fix: "Write the header that carries the API key: 'x-api-key'.",
    })
  }
  return name.toLowerCase()
}

function noneUnder (path: string, problems: readonly Problem[]): boolean {
  return !problems.some((problem) => problem.path === path)
}

/** Instances that share a Redis must make the same keys, so there the secret cannot be drawn at random. */
function resolveSecret (
  written: string | undefined,
  shared: boolean,
  { config }: Boot,
  path: string,
  problems: Problem[],
): string | null {
  if (written !== undefined) return written
  const inherited = config['JWT_ACCESS_SECRET']
  if (typeof inherited === 'string' && inherited.length >= MIN_SECRET_LENGTH) return inherited
  if (shared) {
    problems.push({
      path: `${path}.keySecret`,
      message: 'With Redis the limiter needs a key secret, the same in all instances.',
      fix:
        `Set keySecret (at least ${MIN_SECRET_LENGTH} characters), or JWT_ACCESS_SECRET, of which one is then derived.`,
    })
  }
  return null
}

import type { ClusterOptions, RedisOptions } from 'ioredis'
import type { RedisSource } from './source.js'

type Source<Kind extends RedisSource['kind']> = Extract<RedisSource, { readonly kind: Kind }>
/** Without the key that makes ioredis' constructor generic. */
type Options = Omit<RedisOptions, 'replyMapping'>

/** How long a first connection may take before the server refuses to start. */
export const CONNECT_TIMEOUT_MS = 5000
const MAX_RETRY_MS = 1000

export const retryAfter = (times: number): number => Math.min(50 * 2 ** Math.min(times, 6), MAX_RETRY_MS)

/**
 * A connection of ours never queues a command for later and never sends one again: a command of a limit or of a session
 * that runs after its deadline would count or rotate twice.
 */
const commonOptions = (purpose: string) => ({
  connectionName: `bulwark-${purpose}`,
  connectTimeout: CONNECT_TIMEOUT_MS,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
}) as const satisfies Options

const ownOptions = (purpose: string) => ({
  ...commonOptions(purpose),
  lazyConnect: true,
  enableOfflineQueue: false,
  retryStrategy: retryAfter,
}) as const satisfies Options

export function serverOptions ({ server: { tls, ...server } }: Source<'server'>, purpose: string): Options {
  return { ...ownOptions(purpose), ...server, ...(tls ? { tls: {} } : {}) }
}

export function sentinelOptions ({ options: { tls, ...options } }: Source<'sentinel'>, purpose: string): Options {
  return {
    ...ownOptions(purpose),
    ...options,
    sentinels: options.sentinels.map(({ host, port = 26379 }) => ({ host, port })),
    // Must always be a number: without one ioredis gives up for ever when no Sentinel answers once.
    sentinelRetryStrategy: retryAfter,
    sentinelReconnectStrategy: () => CONNECT_TIMEOUT_MS,
    sentinelCommandTimeout: 1000,
    // A master that hangs or is cut off keeps its connections open; the Sentinels say when another one took over.
    failoverDetector: true,
    disconnectTimeout: 500,
    ...(tls === true ? { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
  }
}

type OwnClusterOptions = Omit<ClusterOptions, 'redisOptions'> & { readonly redisOptions: Options }

export function clusterOptions ({ username, password, tls }: Source<'cluster'>, purpose: string): OwnClusterOptions {
  return {
    lazyConnect: true,
    enableOfflineQueue: false,
    // It would ask a node at random, and begin anew when that one is down. The slots have been asked for already.
    enableReadyCheck: false,
    // Without the retries of a single connection: a node that is lost is found anew.
    redisOptions: { ...commonOptions(purpose), username, password, ...(tls ? { tls: {} } : {}) },
    clusterRetryStrategy: retryAfter,
    // MOVED, ASK and TRYAGAIN say that nothing ran, so they are followed. A closed connection does not say so.
    maxRedirections: 3,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 10,
    // A node that hangs sends no MOVED: only asking the others tells which node took its slots over.
    slotsRefreshInterval: 2000,
    slotsRefreshTimeout: 1000,
    // A certificate is checked against the name, if the nodes are known by names.
    ...(tls ? { dnsLookup: (address, callback) => { callback(null, address) } } : {}),
  }
}

import { Type, type Static } from '@sinclair/typebox'
import type { Cluster, Redis } from 'ioredis'
import type { Problem } from '../response/errors.js'
import { checkOptions, isPlainObject } from '../options/check-options.js'

export type RedisClient = Redis | Cluster

/** One server, as a URL names it. */
export interface RedisServer {
  readonly host: string
  readonly port: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
  readonly tls: boolean
  /** 4 or 6; 0 takes what the name resolves to. */
  readonly family: number
}

const Port = Type.Integer({ minimum: 1, maximum: 65535, fix: 'Write a port from 1 to 65535.' })
const Text = (description: string): ReturnType<typeof Type.String> => Type.String({ minLength: 1, description })

const SentinelSchema = Type.Object({
  sentinels: Type.Array(
    Type.Object({ host: Text('Write the host of a Sentinel.'), port: Type.Optional(Port) }, {
      additionalProperties: false,
      description: 'Write { host, port }.',
    }),
    { minItems: 1, description: 'Write a list of { host, port }, one a Sentinel.' },
  ),
  name: Text('Write the name under which the Sentinels know the master.'),
  username: Type.Optional(Text('Write the ACL user of the Redis servers.')),
  password: Type.Optional(Text('Write the password of the Redis servers.')),
  sentinelUsername: Type.Optional(Text('Write the ACL user of the Sentinels.')),
  sentinelPassword: Type.Optional(Text('Write the password of the Sentinels.')),
  tls: Type.Optional(Type.Boolean({ description: 'true speaks TLS with the Sentinels and the Redis servers.' })),
}, { additionalProperties: false })

const ClusterSchema = Type.Object({
  cluster: Type.Array(Type.String({ fix: 'Write redis://host:port.' }), {
    minItems: 1,
    description: 'Write a list of redis:// or rediss:// URLs of some of the nodes; the others are found from there.',
  }),
  username: Type.Optional(Text('Write the ACL user of all nodes.')),
  password: Type.Optional(Text('Write the password of all nodes.')),
  tls: Type.Optional(Type.Boolean({ description: 'true speaks TLS with all nodes; rediss:// URLs say the same.' })),
}, { additionalProperties: false })

export type RedisSentinelOptions = Static<typeof SentinelSchema>
export type RedisClusterOptions = Static<typeof ClusterSchema>

/** What the `redis` option of a plugin may be, beside `false`. */
export type RedisOption = string | Redis | Cluster | RedisSentinelOptions | RedisClusterOptions

/** A checked `redis` option. It may hold passwords: never log it. */
export type RedisSource =
  | { readonly kind: 'given', readonly client: RedisClient }
  | { readonly kind: 'server', readonly server: RedisServer }
  | { readonly kind: 'sentinel', readonly options: RedisSentinelOptions }
  | {
    readonly kind: 'cluster'
    readonly nodes: readonly RedisServer[]
    readonly username: string | undefined
    readonly password: string | undefined
    readonly tls: boolean
  }

const FORMS =
  "Write redis://host:port, { sentinels, name }, { cluster: ['redis://host:port'] }, an ioredis Redis or Cluster client, or false."
const URL_FORM = 'Write redis://host:port or rediss://host:port.'

/**
 * Resolves a `redis` option; `undefined` falls back to `REDIS_URL` of the config, an empty one counts as absent. Null
 * when there is no Redis, or when a problem was added. No problem holds a URL or a password.
 */
export function resolveRedisSource (
  input: unknown,
  config: Readonly<Record<string, unknown>>,
  path: string,
  problems: Problem[],
): RedisSource | null {
  if (input === false) return null
  const inherited = config['REDIS_URL']
  const source = input ?? (inherited === '' ? undefined : inherited)
  if (source === undefined) return null
  if (typeof source === 'string') {
    const server = parseRedisUrl(source)
    if (typeof server !== 'string') return Object.freeze({ kind: 'server', server })
    problems.push({
      path,
      message: input === undefined
        ? `REDIS_URL in app.config is not a Redis URL${server}.`
        : `Not a Redis URL${server}.`,
      fix: URL_FORM,
    })
    return null
  }
  if (isRedisClient(source)) return resolveGiven(source, path, problems)
  if (isPlainObject(source) && source['cluster'] !== undefined) return resolveCluster(source, path, problems)
  if (isPlainObject(source) && source['sentinels'] !== undefined) {
    const options = checkOptions(SentinelSchema, source, path, problems)
    return options === null ? null : Object.freeze({ kind: 'sentinel', options })
  }
  problems.push({ path, message: 'Neither a Redis URL nor an ioredis client.', fix: FORMS })
  return null
}

/**
 * Reads `redis://[user][:password]@host[:port][/db][?family=6]`, or `rediss://` for TLS. What it cannot read it says,
 * as the end of a sentence: ioredis would take any option from the query, the offline queue included, or skip it in
 * silence.
 */
export function parseRedisUrl (text: string): RedisServer | string {
  if (!/^rediss?:\/\/./.test(text) || !URL.canParse(text)) return ''
  const { protocol, hostname, port, username, password, pathname, searchParams, hash } = new URL(text)
  if (hostname === '') return ': it names no host'
  const db = pathname === '' || pathname === '/' ? '0' : pathname.slice(1)
  if (!/^\d{1,5}$/.test(db)) return ': its path is not the number of a database'
  const family = searchParams.get('family') ?? '0'
  if (hash !== '' || [...searchParams.keys()].some((key) => key !== 'family') || !['0', '4', '6'].includes(family))
    {return ': of options it takes family=4 or family=6 only'}
  const decoded = [username, password].map(decode)
  if (decoded.includes(null)) return ': its user or password is not percent-encoded'
  return Object.freeze({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 6379 : Number(port),
    username: decoded[0] ?? undefined,
    password: decoded[1] ?? undefined,
    db: Number(db),
    tls: protocol === 'rediss:',
    family: Number(family),
  })
}

/** Undefined for an absent part, null for one that cannot be decoded. */
function decode (part: string): string | undefined | null {
  if (part === '') return undefined
  try {
    return decodeURIComponent(part)
  } catch {
    return null
  }
}

function resolveCluster (input: unknown, path: string, problems: Problem[]): RedisSource | null {
  const options = checkOptions(ClusterSchema, input, path, problems)
  if (options === null) return null
  const before = problems.length
  const nodes = options.cluster.flatMap((text, index) => {
    const node = parseRedisUrl(text)
    const at = `${path}.cluster[${index}]`
    if (typeof node === 'string') {
      problems.push({ path: at, message: `Not a Redis URL${node}.`, fix: URL_FORM })
      return []
    }
    if (node.username !== undefined || node.password !== undefined)
      {problems.push({
        path: at,
        message: 'Nodes that are found later would not have its user and password.',
        fix: 'Write username and password beside cluster.',
      })}
    if (node.db !== 0)
      {problems.push({ path: at, message: 'A Redis Cluster has database 0 only.', fix: 'Leave the path out.' })}
    return [node]
  })
  const encrypted = nodes.filter(({ tls }) => tls).length
  const contradictory = options.tls === undefined
    ? encrypted > 0 && encrypted < nodes.length
    : !options.tls && encrypted > 0
  if (contradictory)
    {problems.push({
      path: `${path}.cluster`,
      message: 'All nodes speak TLS or none does.',
      fix: 'Write rediss:// for all of them, and no tls: false.',
    })}
  if (problems.length > before) return null
  return Object.freeze({
    kind: 'cluster',
    nodes: Object.freeze(nodes),
    username: options.username,
    password: options.password,
    tls: options.tls ?? encrypted > 0,
  })
}

function resolveGiven (client: RedisClient, path: string, problems: Problem[]): RedisSource | null {
  const before = problems.length
  const add = (message: string, fix: string): void => { problems.push({ path, message, fix }) }
  const name = isCluster(client) ? 'ioredis Cluster client' : 'ioredis client'
  const fix = isCluster(client)
    ? 'Create the ioredis client with { enableOfflineQueue: false, retryDelayOnFailover: 0 }, or give { cluster }.'
    : 'Create the ioredis client with { enableOfflineQueue: false, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 }, or give the URL.'
  if (queuesOffline(client))
    {add(
      `This ${name} queues commands while it is disconnected; they would run long after their request was answered.`,
      fix,
    )}
  else if (resends(client))
    {add(
      `This ${name} sends commands again whose connection broke; one that Redis had run already would run twice.`,
      fix,
    )}
  if (client.status === 'end') add('This ioredis client is closed.', 'Give one that is open, or the URL.')
  if (isCluster(client)) {
    if (client.options.scaleReads !== undefined && client.options.scaleReads !== 'master')
      {add('This ioredis Cluster client reads from replicas, which are behind.', 'Create it without scaleReads.')}
  } else if (client.options.readOnly === true || client.options.role === 'slave') {
    add('This ioredis client is connected to a replica, which cannot count.', 'Give a client of the master.')
  }
  return problems.length > before ? null : Object.freeze({ kind: 'given', client })
}

/** By what it can do, because the app may bring an ioredis of its own. */
function isRedisClient (value: unknown): value is RedisClient {
  if (typeof value !== 'object' || value === null) return false
  const client = value as { evalsha?: unknown, eval?: unknown, status?: unknown, options?: unknown }
  return typeof client.evalsha === 'function' && typeof client.eval === 'function' &&
    typeof client.status === 'string' &&
    typeof client.options === 'object' && client.options !== null
}

export function isCluster (client: RedisClient): client is Cluster {
  return client.isCluster
}

/**
 * True for an ioredis client that queues commands while it is disconnected: they would run long after their deadline.
 * ioredis does not heed `redisOptions.enableOfflineQueue` of a Cluster, but whoever wrote true there wants the queue.
 */
export function queuesOffline (client: RedisClient): boolean {
  if (client.options.enableOfflineQueue !== false) return true
  if (!isCluster(client)) return false
  const ofNodes: object = client.options.redisOptions ?? {}
  return 'enableOfflineQueue' in ofNodes && ofNodes.enableOfflineQueue === true
}

/** True for an ioredis client that repeats, on the next connection, what the last one left without an answer. */
function resends (client: RedisClient): boolean {
  if (!isCluster(client)) return typeof client.options.retryStrategy === 'function' && resendsOn(client.options)
  // The nodes of a Cluster connect again only if they are told how; the Cluster itself asks again after a delay.
  const { retryDelayOnFailover, clusterNodeRetryStrategy, redisOptions = {} } = client.options
  return retryDelayOnFailover !== 0 || (typeof clusterNodeRetryStrategy === 'function' && resendsOn(redisOptions))
}

/** Each connection that breaks ends the commands on it when they may not be retried at all. */
function resendsOn (
  options: {
    readonly autoResendUnfulfilledCommands?: boolean | undefined
    readonly maxRetriesPerRequest?: number | null | undefined
  },
): boolean {
  return options.autoResendUnfulfilledCommands !== false && options.maxRetriesPerRequest !== 0
}

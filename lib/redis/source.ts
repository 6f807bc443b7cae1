import { Type, type Static } from '@sinclair/typebox'
import { checkOptions, isPlainObject } from '../options/check-options.js'
import type { Problem } from '../response/errors.js'
import { checkGivenClient, isRedisClient, type RedisClient } from './given-client.js'

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
export type RedisOption = string | RedisClient | RedisSentinelOptions | RedisClusterOptions

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
  const before = problems.length
  const what = input === undefined ? 'REDIS_URL in app.config is not' : 'Not'
  const resolved = resolveSource(source, what, path, problems)
  return problems.length > before || resolved === null ? null : Object.freeze(resolved)
}

function resolveSource (source: unknown, what: string, path: string, problems: Problem[]): RedisSource | null {
  if (typeof source === 'string') {
    const server = resolveUrl(source, what, path, problems)
    return server === null ? null : { kind: 'server', server }
  }
  if (isRedisClient(source)) {
    checkGivenClient(source, path, problems)
    return { kind: 'given', client: source }
  }
  if (isPlainObject(source) && source['cluster'] !== undefined) return resolveCluster(source, path, problems)
  if (isPlainObject(source) && source['sentinels'] !== undefined) {
    const options = checkOptions(SentinelSchema, source, path, problems)
    return options === null ? null : { kind: 'sentinel', options }
  }
  problems.push({ path, message: 'Neither a Redis URL nor an ioredis client.', fix: FORMS })
  return null
}

function resolveUrl (text: string, what: string, path: string, problems: Problem[]): RedisServer | null {
  const server = parseRedisUrl(text)
  if (typeof server !== 'string') return server
  problems.push({ path, message: `${what} a Redis URL${server}.`, fix: URL_FORM })
  return null
}

/**
 * Reads `redis://[user][:password]@host[:port][/db][?family=6]`, or `rediss://` for TLS. Of a text that it cannot read
 * it gives the reason, as the end of a sentence. Not ioredis' own reading, which takes any option from the query, the
 * offline queue included, and skips in silence what it does not know.
 */
export function parseRedisUrl (text: string): RedisServer | string {
  if (!/^rediss?:\/\/./.test(text) || !URL.canParse(text)) return ''
  const { protocol, hostname, port, username, password, pathname, searchParams, hash } = new URL(text)
  if (hostname === '') return ': it names no host'
  const db = pathname.slice(1) || '0'
  if (!/^\d{1,5}$/.test(db)) return ': its path is not the number of a database'
  const family = searchParams.get('family') ?? '0'
  if (hash !== '' || [...searchParams.keys()].some((key) => key !== 'family') || !['0', '4', '6'].includes(family)) {
    return ': of options it takes family=4 or family=6 only'
  }
  try {
    return Object.freeze({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? 6379 : Number(port),
      username: username === '' ? undefined : decodeURIComponent(username),
      password: password === '' ? undefined : decodeURIComponent(password),
      db: Number(db),
      tls: protocol === 'rediss:',
      family: Number(family),
    })
  } catch {
    return ': its user or password is not percent-encoded'
  }
}

function resolveCluster (input: unknown, path: string, problems: Problem[]): RedisSource | null {
  const options = checkOptions(ClusterSchema, input, path, problems)
  if (options === null) return null
  const nodes = options.cluster.flatMap((text, index) => {
    const at = `${path}.cluster[${index}]`
    const node = resolveUrl(text, 'Not', at, problems)
    if (node === null) return []
    if (node.username !== undefined || node.password !== undefined) {
      problems.push({
        path: at,
        message: 'Nodes that are found later would not have its user and password.',
        fix: 'Write username and password beside cluster.',
      })
    }
    if (node.db !== 0) {
      problems.push({ path: at, message: 'A Redis Cluster has database 0 only.', fix: 'Leave the path out.' })
    }
    return [node]
  })
  const isAnyEncrypted = nodes.some((node) => node.tls)
  const { username, password, tls = nodes.every((node) => node.tls) } = options
  if (isAnyEncrypted && !tls) {
    problems.push({
      path: `${path}.cluster`,
      message: 'All nodes speak TLS or none does.',
      fix: 'Write rediss:// for all of them, and no tls: false.',
    })
  }
  return { kind: 'cluster', nodes: Object.freeze(nodes), username, password, tls }
}

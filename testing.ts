/**
 * For tests of services: a signed-in visitor whose requests pass every guard for real. The session is opened in the
 * app's own store and its tokens are signed with the app's own keys; only the password is not asked for.
 */
import type { FastifyBaseLogger, FastifyInstance, FastifyTypeProvider, InjectOptions, LightMyRequestResponse,
  RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase } from 'fastify'
import type { SecurityUser } from './lib/auth/context.js'
import type { CredentialSource } from './lib/auth/credentials.js'
import { partsOf, type AuthParts } from './lib/auth/test-access.js'
import { areMethods, MAX_METHOD_LENGTH, MAX_METHODS } from './lib/auth/sign-in.js'
import { hashContext } from './lib/auth/rotation.js'
import { isLoopbackName } from './lib/net/host.js'
import type { ShapeOf } from './lib/policy/types.js'
import { CookieJar } from './lib/testing/cookie-jar.js'

export interface SignInOptions {
  /** What the sign-in was proved with (RFC 8176); default `['pwd']`. */
  readonly methods?: readonly string[]
  /** The device as the session list shows it, at most 256 characters; default empty. */
  readonly label?: string
  /** Where the tokens go; default the first source that the app declares. */
  readonly source?: CredentialSource
  /**
   * The https origin that the visitor sees; default `https://app.test`. Name a host of `transport.hosts` where those
   * are declared.
   */
  readonly origin?: string
  /**
   * Sent with every request; those of a request win. Behind declared proxies for example `{ 'x-forwarded-proto':
   * 'https' }`.
   */
  readonly headers?: Readonly<Record<string, string>>
  /** The address that requests come from. */
  readonly remoteAddress?: string
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof SignInOptions>([
  'methods',
  'label',
  'source',
  'origin',
  'headers',
  'remoteAddress',
])

/** A visitor who is signed in. */
export interface SignedIn {
  readonly sessionId: string
  /** All cookies of the visitor. Empty with the source bearer. */
  readonly cookies: Readonly<Record<string, string>>
  /** What a request to `/` carries, for other clients: a WebSocket, fetch against a listening server. */
  readonly headers: Readonly<Record<string, string>>
  /** As `app.inject`, from a page of the same origin. Cookies that are set or expired are kept as a browser would. */
  inject (options: InjectOptions | string): Promise<LightMyRequestResponse>
  /** Calls the built-in refresh route. */
  refresh (): Promise<LightMyRequestResponse>
  /** Calls the built-in logout route. */
  logout (): Promise<LightMyRequestResponse>
}

/**
 * Signs a user in.
 * @throws Error when the app has no auth plugin, when a user does not fit its roles and claims, or when the store
 * refuses
 */
export async function signIn<
  RawServer extends RawServerBase,
  RawRequest extends RawRequestDefaultExpression<RawServer>,
  RawReply extends RawReplyDefaultExpression<RawServer>,
  Logger extends FastifyBaseLogger,
  TypeProvider extends FastifyTypeProvider,
> (
  app: FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>,
  user: SecurityUser<ShapeOf<TypeProvider>>,
  options: SignInOptions = {},
): Promise<SignedIn> {
  await app.ready()
  const parts = partsOf(app)
  if (parts === null) {
    throw new Error(
      'signIn: this app has no auth plugin. Register it (`auth` in the definition) on this instance or above it.',
    )
  }
  for (const name of Object.keys(options)) {
    if (!OPTION_NAMES.has(name)) {throw new TypeError(
        `signIn: there is no option "${name}"; there are ${[...OPTION_NAMES].join(', ')}.`,
      )}
  }
  const { methods = ['pwd'], label = '' } = options
  const origin = originOf(options)
  const source = options.source ?? parts.sources[0] ?? 'cookie'
  if (!parts.sources.includes(source)) {
    throw new TypeError(`signIn: the app does not take tokens from the source "${source}".`)
  }
  if (!areMethods(methods) || methods.length === 0) {
    throw new TypeError(
      `signIn: methods are 1 to ${MAX_METHODS} texts of at most ${MAX_METHOD_LENGTH} letters, digits and ._:-`,
    )
  }
  if (typeof label !== 'string' || label.length > 256) {
    throw new TypeError('signIn: the label is not a text of at most 256 characters.')
  }
  const opened = await parts.sessions.open(parts.users.fromApp(user, 'signIn'), {
    clientContext: hashContext(userAgentOf(options)),
    label,
    methods,
    ageMs: 0,
    replaces: [],
  })
  if ('refused' in opened) {
    throw new Error(
      `signIn: the store refused the session: ${
        opened.refused === 'full' ? 'the user has as many as maxSessions allows' : 'the user was revoked meanwhile'
      }.`,
    )
  }
  const { tokens } = opened
  return createVisitor({
    send: (request) => app.inject(request),
    hasRoute: (url) => app.hasRoute({ method: 'POST', url }),
    parts,
    options,
    origin,
    source,
    sessionId: tokens.context.sessionId,
    tokens,
  })
}

interface VisitorParts {
  readonly send: (request: InjectOptions) => Promise<LightMyRequestResponse>
  readonly hasRoute: (url: string) => boolean
  readonly parts: AuthParts
  readonly options: SignInOptions
  readonly origin: URL
  readonly source: CredentialSource
  readonly sessionId: string
  readonly tokens: { readonly access: string, readonly refresh: string, readonly maxAge: number }
}

function createVisitor ({ send, hasRoute, parts, options, origin, source, sessionId, tokens }: VisitorParts): SignedIn {
  const { cookies: names, path: authPath } = parts
  const jar = new CookieJar(Date.now)
  const bearer = { access: tokens.access, refresh: tokens.refresh }
  if (source === 'cookie') {
    jar.set(names.access.name, tokens.access, names.access.path, tokens.maxAge)
    jar.set(names.refresh.name, tokens.refresh, names.refresh.path, tokens.maxAge)
  }

  const headersFor = (path: string, token: string): Record<string, string> => {
    const cookie = jar.header(path)
    return {
      host: origin.host,
      'user-agent': userAgentOf(options),
      'sec-fetch-site': 'same-origin',
      ...lowerCased(options.headers),
      ...cookie !== undefined && { cookie },
      ...source === 'bearer' && { authorization: `Bearer ${token}` },
    }
  }

  async function inject (given: InjectOptions | string, token = bearer.access): Promise<LightMyRequestResponse> {
    const request = typeof given === 'string' ? { url: given } : given
    const { pathname } = new URL(pathOf(request), origin)
    const response = await send({
      ...options.remoteAddress !== undefined && { remoteAddress: options.remoteAddress },
      ...request,
      headers: { ...headersFor(pathname, token), ...lowerCased(request.headers) },
    })
    const lines = response.headers['set-cookie']
    for (const line of lines === undefined ? [] : Array.isArray(lines) ? lines : [lines]) jar.follow(line, pathname)
    return response
  }

  async function post (name: 'refresh' | 'logout'): Promise<LightMyRequestResponse> {
    const url = `${authPath}/${name}`
    if (!hasRoute(url)) {
      throw new Error(
        `signIn: the app has no route POST ${url}. The auth option routes: false leaves the built-in ones out.`,
      )
    }
    const response = await inject({ method: 'POST', url }, bearer.refresh)
    if (source === 'bearer' && name === 'refresh' && response.statusCode === 200) {
      const answer: { readonly access_token?: unknown, readonly refresh_token?: unknown } = response.json()
      if (typeof answer.access_token === 'string') bearer.access = answer.access_token
      if (typeof answer.refresh_token === 'string') bearer.refresh = answer.refresh_token
    }
    return response
  }

  return Object.freeze<SignedIn>({
    sessionId,
    get cookies () { return jar.all() },
    get headers () { return headersFor('/', bearer.access) },
    inject: (request) => inject(request),
    refresh: () => post('refresh'),
    logout: () => post('logout'),
  })
}

/** Of another origin, the app would look for cookies of other names: every request would be a 401 without a reason. */
function originOf ({ origin = 'https://app.test' }: SignInOptions): URL {
  const url = URL.canParse(origin) ? new URL(origin) : null
  if (url?.protocol !== 'https:' || isLoopbackName(url.hostname)) {
    throw new TypeError('signIn: the origin is no https origin, or a loopback name.')
  }
  return url
}

/** The same in the session and in each request: a client that changes it looks like another one. */
function userAgentOf ({ headers }: SignInOptions): string {
  return lowerCased(headers)['user-agent'] ?? 'fastify-bulwark-testing'
}

function pathOf ({ url, path }: InjectOptions): string {
  const given = url ?? path ?? '/'
  return typeof given === 'string' ? given : given.pathname
}

function lowerCased<T> (headers: Readonly<Record<string, T>> | undefined): Record<string, T> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]))
}

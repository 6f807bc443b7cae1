import type { FastifyBaseLogger, FastifyError, FastifyHttpOptions, FastifyInstance, FastifyReply,
  FastifyRequest } from 'fastify'
import { STATUS_CODES, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { SecurityError, type ErrorCode } from '../response/errors.js'
import { fieldsOf, type PreparedHeaders } from '../response/headers.js'
import { PROBLEM_MEDIA_TYPE, renderProblem } from '../response/problem.js'
import { PreparedResponse, setPreparedHeaders } from '../response/response.js'
import { ServerNotes } from '../options/server-notes.js'
import { createForwardedFilter, filteredRewrite, type RewriteUrl } from './forwarded.js'
import { createRequestId, createRequestIdGenerator } from './request-id.js'
import type { ResolvedTransport } from './resolve.js'

/** What the answers need that no hook can reach: bad URLs, malformed HTTP, header overflow. */
export interface ServerSettings {
  readonly transport: ResolvedTransport
  /** The base header block for either scheme, or null when the headers plugin is off. */
  readonly headers: { readonly plain: PreparedHeaders, readonly secure: PreparedHeaders } | null
  readonly typeBase: string | null
  /** Milliseconds that requests in flight get after `close()`; absent means `DRAIN_MS`. */
  readonly drainMs?: number
}

/** OWASP ASVS 5.0 V4.2 and Node's own guidance; a slow or endless request must not hold a connection. */
export const SERVER_DEFAULTS = Object.freeze({
  bodyLimit: 100 * 1024,
  requestTimeout: 30_000,
  handlerTimeout: 10_000,
  connectionTimeout: 60_000,
  headersTimeout: 20_000,
  // Node looks for slow requests only every 30 s, so that 20 s could last 50.
  connectionsCheckingInterval: 5_000,
})

const BUILT = new ServerNotes<ServerSettings>()

/** The settings that this instance was built with, or null when it was not built with `serverOptions()`. */
export function settingsOf (app: object): ServerSettings | null {
  return BUILT.get(app) ?? null
}

/** Constructor options of a hardened Fastify instance; `rewriteUrl` is the app's own. */
export function buildServerOptions (settings: ServerSettings, rewriteUrl?: RewriteUrl): FastifyHttpOptions<Server> {
  const { proxies, policy } = settings.transport
  const genReqId = createRequestIdGenerator(proxies)
  const options: FastifyHttpOptions<Server> = {
    trustProxy: settings.transport.trustProxy,
    // Without a declared proxy Fastify believes no such header, so none is removed.
    ...(proxies !== null &&
      { rewriteUrl: filteredRewrite(createForwardedFilter(proxies, policy.forwardedHost), rewriteUrl) }),
    ...(proxies === null && rewriteUrl !== undefined && { rewriteUrl }),
    genReqId,
    requestIdHeader: false,
    bodyLimit: SERVER_DEFAULTS.bodyLimit,
    requestTimeout: SERVER_DEFAULTS.requestTimeout,
    // The suite's own takes its place; lib/response/handler-timeouts.ts says why.
    handlerTimeout: 0,
    connectionTimeout: SERVER_DEFAULTS.connectionTimeout,
    // The transport plugin answers both itself: Fastify's 503 and Node's 400 would leave without security headers.
    return503OnClosing: false,
    http: {
      headersTimeout: SERVER_DEFAULTS.headersTimeout,
      connectionsCheckingInterval: SERVER_DEFAULTS.connectionsCheckingInterval,
      requireHostHeader: false,
      ServerResponse: PreparedResponse,
    },
    frameworkErrors: (error, request, reply) => { sendFrameworkError(settings, error, request, reply) },
    clientErrorHandler (error, socket) {
      // Fastify calls it on the instance; its types say the options.
      answerClientError(settings, error, socket, (this as unknown as FastifyInstance).log)
    },
  }
  BUILT.set(options, settings)
  return options
}

function sendFrameworkError (
  settings: ServerSettings,
  error: FastifyError,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const safe = error.statusCode === 414
    ? new SecurityError('URI_TOO_LONG')
    : error.statusCode === 400
    ? new SecurityError('BAD_REQUEST')
    : error
  const problem = renderProblem(safe, request.id, settings.typeBase)
  // No hook runs for it: this is its line in the access log.
  request.log.info(
    { method: request.method, route: null, status: problem.status, ip: request.ip, code: error.code },
    'request refused by the router',
  )
  if (settings.headers !== null) {
    setPreparedHeaders(reply, request.protocol === 'https' ? settings.headers.secure : settings.headers.plain)
  }
  void reply.code(problem.status)
    .header('x-request-id', request.id)
    .header('cache-control', 'no-store')
    .header('content-type', PROBLEM_MEDIA_TYPE)
    .send(problem.body)
}

const CLIENT_ERROR_CODES: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  ['ERR_HTTP_REQUEST_TIMEOUT', 'REQUEST_TIMEOUT'],
  ['HPE_HEADER_OVERFLOW', 'HEADERS_TOO_LARGE'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', 'BODY_TOO_LARGE'],
])

/** Answers what Node's parser refused. There is no request object, so the answer is written to the socket by hand. */
function answerClientError (
  settings: ServerSettings,
  error: NodeJS.ErrnoException,
  socket: Socket,
  log: FastifyBaseLogger,
): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  if (isStillShakingHands(socket)) {
    // Nothing can be written yet, and waiting until it was would keep the connection for ever.
    socket.destroy()
    return
  }
  const id = createRequestId()
  const problem = renderProblem(
    new SecurityError(CLIENT_ERROR_CODES.get(error.code ?? '') ?? 'BAD_REQUEST'),
    id,
    settings.typeBase,
  )
  const answers = socket.writable && !hasAnswered(socket)
  log.info({
    reqId: id,
    method: null,
    route: null,
    status: answers ? problem.status : null,
    ip: socket.remoteAddress ?? null,
    code: error.code,
  }, 'malformed request refused')
  if (answers) {
    const encrypted = 'encrypted' in socket && socket.encrypted === true
    const headers = {
      ...(settings.headers !== null &&
        Object.fromEntries(fieldsOf(encrypted ? settings.headers.secure : settings.headers.plain))),
      'x-request-id': id,
      'cache-control': 'no-store',
      'content-type': PROBLEM_MEDIA_TYPE,
      'content-length': String(Buffer.byteLength(problem.body)),
      connection: 'close',
    }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
    socket.write(`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}\r\n${lines}\r\n${problem.body}`)
  }
  socket.destroySoon()
}

function isStillShakingHands (socket: Socket): boolean {
  return socket instanceof TLSSocket && socket.getPeerFinished() === undefined
}

/**
 * True when the request in progress has its answer, or part of it: another one would be read as the answer to the next
 * request, or as a piece of the body. Only Node's internals know; its own handler of client errors asks them too.
 */
function hasAnswered (socket: Socket): boolean {
  const { _httpMessage: response, parser } = socket as SocketInternals
  if (response !== undefined && response !== null) return response.headersSent
  // Answered before its body arrived: the response was detached, the request is still being read.
  return parser?.incoming?.complete === false
}

interface SocketInternals {
  readonly _httpMessage?: { readonly headersSent: boolean } | null
  readonly parser?: { readonly incoming?: { readonly complete: boolean } | null } | null
}

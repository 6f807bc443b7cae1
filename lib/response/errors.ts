/**
 * Every code a client can receive in a problem document (RFC 9457), with its status and the one sentence it says.
 * `detail` never names a cause that would help an attacker. docs/errors.md is held equal to this table by a test.
 */
export const ERROR_CATALOGUE = {
  BAD_REQUEST: { status: 400, title: 'Bad Request', detail: 'The request could not be understood.' },
  VALIDATION_FAILED: {
    status: 400,
    title: 'Validation Failed',
    detail: 'The request does not match what this route accepts.',
  },
  UNAUTHENTICATED: { status: 401, title: 'Unauthorized', detail: 'Authentication required.' },
  TOKEN_MISSING: { status: 401, title: 'Unauthorized', detail: 'Authentication required.' },
  TOKEN_EXPIRED: { status: 401, title: 'Unauthorized', detail: 'Token expired.' },
  TOKEN_INVALID: { status: 401, title: 'Unauthorized', detail: 'Invalid token.' },
  SESSION_REVOKED: { status: 401, title: 'Unauthorized', detail: 'The session has ended. Sign in again.' },
  REFRESH_REUSED: { status: 401, title: 'Unauthorized', detail: 'The session has ended. Sign in again.' },
  FRESH_AUTH_REQUIRED: { status: 401, title: 'Unauthorized', detail: 'Sign in again to continue.' },
  CREDENTIALS_INVALID: { status: 401, title: 'Unauthorized', detail: 'The credentials are not valid.' },
  FORBIDDEN: { status: 403, title: 'Forbidden', detail: 'This is not allowed.' },
  INSUFFICIENT_ROLE: { status: 403, title: 'Forbidden', detail: 'This needs a role that the account does not have.' },
  INSUFFICIENT_SCOPE: {
    status: 403,
    title: 'Forbidden',
    detail: 'This needs a permission that the caller does not have.',
  },
  CSRF_REJECTED: { status: 403, title: 'Forbidden', detail: 'The request did not come from a page that may send it.' },
  CORS_REJECTED: { status: 403, title: 'Forbidden', detail: 'This origin may not send this request.' },
  HTTPS_REQUIRED: { status: 403, title: 'Forbidden', detail: 'Use HTTPS.' },
  NOT_FOUND: { status: 404, title: 'Not Found', detail: 'There is nothing here.' },
  METHOD_NOT_ALLOWED: { status: 405, title: 'Method Not Allowed', detail: 'This method is not allowed here.' },
  REQUEST_TIMEOUT: { status: 408, title: 'Request Timeout', detail: 'The request took too long to arrive.' },
  SESSION_LIMIT_REACHED: {
    status: 409,
    title: 'Conflict',
    detail: 'Too many devices are signed in. Sign out on one of them first.',
  },
  CONFLICT: { status: 409, title: 'Conflict', detail: 'The request conflicts with what is stored.' },
  BODY_TOO_LARGE: {
    status: 413,
    title: 'Content Too Large',
    detail: 'The request body is larger than this route accepts.',
  },
  URI_TOO_LONG: { status: 414, title: 'URI Too Long', detail: 'The request target is too long.' },
  MEDIA_TYPE_NOT_SUPPORTED: {
    status: 415,
    title: 'Unsupported Media Type',
    detail: 'This route does not accept this content type.',
  },
  HOST_NOT_ALLOWED: { status: 421, title: 'Misdirected Request', detail: 'This host name is not served here.' },
  UNPROCESSABLE: { status: 422, title: 'Unprocessable Content', detail: 'The request cannot be processed.' },
  RATE_LIMITED: { status: 429, title: 'Too Many Requests', detail: 'Too many requests. Try again later.' },
  HEADERS_TOO_LARGE: {
    status: 431,
    title: 'Request Header Fields Too Large',
    detail: 'The request headers are too large.',
  },
  INTERNAL_ERROR: {
    status: 500,
    title: 'Internal Server Error',
    detail: 'Something went wrong. Quote the instance when you report it.',
  },
  STORE_UNAVAILABLE: {
    status: 503,
    title: 'Service Unavailable',
    detail: 'A service this request needs is not available. Try again shortly.',
  },
  SERVICE_UNAVAILABLE: {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The service cannot answer now. Try again shortly.',
  },
} as const satisfies Record<string, { status: number, title: string, detail: string }>

export type ErrorCode = keyof typeof ERROR_CATALOGUE

export interface SecurityErrorOptions {
  /**
   * Replaces the catalogue's sentence. It is sent to the client: never put a value, a name of a library or a cause in
   * it.
   */
  detail?: string
  /** Response headers that belong to this refusal (`Retry-After`, `Allow`). */
  headers?: Readonly<Record<string, string>>
  /** Further members of the problem document (RFC 9457, section 3.2), for example `retryAfter`. */
  members?: Readonly<Record<string, unknown>>
  /** For the log only; it never leaves the process. */
  cause?: unknown
}

/**
 * A refusal with a stable code. Throw it from a handler or a hook: the client gets the catalogue's status, title and
 * detail as `application/problem+json`, the log gets `cause`.
 */
export class SecurityError extends Error {
  override readonly name = 'SecurityError'
  readonly code: ErrorCode
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly members: Readonly<Record<string, unknown>>

  constructor (code: ErrorCode, options: SecurityErrorOptions = {}) {
    const entry = ERROR_CATALOGUE[code]
    super(options.detail ?? entry.detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.statusCode = entry.status
    this.headers = options.headers ?? {}
    this.members = options.members ?? {}
  }
}

/**
 * A refusal that a client can have as often as it likes: a `SecurityError` without a stack, which would always lead
 * into the suite and costs more than all the rest of the answer. Each request gets one of its own, because error
 * handlers may write on theirs.
 */
export function refusal (
  code: ErrorCode,
  { detail, headers = NOTHING, members = NOTHING, cause }: SecurityErrorOptions = NOTHING,
): SecurityError {
  const entry = ERROR_CATALOGUE[code]
  const error = Object.create(SecurityError.prototype) as {
    -readonly [Name in keyof SecurityError]: SecurityError[Name]
  }
  error.message = detail ?? entry.detail
  error.name = 'SecurityError'
  error.stack = `SecurityError: ${error.message}`
  error.code = code
  error.statusCode = entry.status
  error.headers = headers
  error.members = members
  if (cause !== undefined) error.cause = cause
  return error
}

const NOTHING = Object.freeze({})

/** One thing wrong with what was configured. */
export interface Problem {
  /** The option path (`transport.proxies[0]`) or the route (`GET /admin security.auth`). */
  readonly path: string
  /** What is wrong. Never contains a secret or an environment variable's value. */
  readonly message: string
  /** What to write instead. */
  readonly fix: string
}

/** Thrown at boot. Lists every problem found, each with its path and its fix; `code` is always `BULWARK_CONFIG`. */
export class BulwarkConfigError extends Error {
  override readonly name = 'BulwarkConfigError'
  readonly code = 'BULWARK_CONFIG'
  readonly problems: readonly Problem[]

  constructor (problems: readonly Problem[]) {
    const lines = problems.map(({ path, message, fix }) => `  - ${path}: ${message} ${fix}`)
    super(
      `fastify-bulwark refuses to start, ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${
        lines.join('\n')
      }`,
    )
    this.problems = Object.freeze([...problems])
  }
}

/** Throws one `BulwarkConfigError` when the list is not empty. */
export function assertNoProblems (problems: readonly Problem[]): void {
  if (problems.length > 0) throw new BulwarkConfigError(problems)
}

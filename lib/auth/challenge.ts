import { refusal, type ErrorCode, type SecurityError } from '../response/errors.js'
import type { CredentialSource } from './credentials.js'

/**
 * RFC 6750, section 3.1, and RFC 9470, section 3. A request without a token gets a bare challenge, not an error code.
 */
const BEARER_ERRORS: Partial<Record<ErrorCode, string>> = Object.freeze({
  TOKEN_INVALID: 'invalid_token',
  TOKEN_EXPIRED: 'invalid_token',
  SESSION_REVOKED: 'invalid_token',
  REFRESH_REUSED: 'invalid_token',
  INSUFFICIENT_SCOPE: 'insufficient_scope',
  FRESH_AUTH_REQUIRED: 'insufficient_user_authentication',
})

/** Further members of a Bearer challenge: `scope`, `max_age`. Their values must not need quoting. */
export type ChallengeMembers = Readonly<Record<string, string>>

/**
 * The value of `WWW-Authenticate`, one challenge for each declared source. RFC 9110, section 11.6.1: a 401 must name
 * one. Browsers show no dialog for a scheme that they do not know, such as `Cookie`.
 */
export function challengeOf (
  sources: readonly CredentialSource[],
  realm: string,
  code: ErrorCode,
  members: ChallengeMembers = {},
): string {
  const challenges: string[] = []
  if (sources.includes('cookie')) challenges.push(`Cookie realm="${realm}"`)
  if (sources.includes('bearer')) {
    const error = BEARER_ERRORS[code]
    const said = error === undefined
      ? []
      : [`error="${error}"`, ...Object.entries(members).map(([name, value]) => `${name}="${value}"`)]
    challenges.push([`Bearer realm="${realm}"`, ...said].join(', '))
  }
  return challenges.join(', ')
}

/** Makes the refusals of one code. */
export type Refusal = () => SecurityError

export interface Refusals {
  /** A 401 with its challenge. */
  readonly unauthorized: (code: ErrorCode) => SecurityError
  /** A 401 of one route, with what its challenge says beside the error. */
  readonly prepare: (code: ErrorCode, members?: ChallengeMembers) => Refusal
  /**
   * A 403 of one route. It has a challenge only where RFC 6750 gives it one: for a scope, where Bearer tokens are
   * taken.
   */
  readonly forbidden: (code: ErrorCode, members?: ChallengeMembers) => Refusal
}

/** The refusals of a service that takes tokens from these sources; every header is built once. */
export function createRefusals (sources: readonly CredentialSource[], realm: string): Refusals {
  const known = new Map<ErrorCode, Refusal>()
  const prepare = (code: ErrorCode, members?: ChallengeMembers): Refusal => {
    const options = Object.freeze({
      headers: Object.freeze({ 'www-authenticate': challengeOf(sources, realm, code, members) }),
    })
    return () => refusal(code, options)
  }
  const forbidden = (code: ErrorCode, members?: ChallengeMembers): Refusal => {
    if (!sources.includes('bearer') || BEARER_ERRORS[code] === undefined) return () => refusal(code, {})
    const options = Object.freeze({
      headers: Object.freeze({ 'www-authenticate': challengeOf(['bearer'], realm, code, members) }),
    })
    return () => refusal(code, options)
  }
  return Object.freeze<Refusals>({
    prepare,
    forbidden,
    unauthorized (code) {
      let refusal = known.get(code)
      if (refusal === undefined) known.set(code, refusal = prepare(code))
      return refusal()
    },
  })
}

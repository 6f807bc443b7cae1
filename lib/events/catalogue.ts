/**
 * Every security event, with its log level and its fields. Names are those of the OWASP Logging Vocabulary; the six that it
 * lacks (`authn_token_invalid`, `malicious_csrf`, `csp_violation`, `proxy_headers_untrusted`, `store_unavailable`,
 * `store_recovered`) follow its pattern.
 * No event carries a password, a token, a cookie, a full e-mail address or a body value.
 */
export interface EventFields {
  authn_login_success: { readonly userId: string }
  authn_login_fail: { readonly reason: 'credentials' | 'error' | 'full' | 'revoked' }
  authn_token_created: { readonly userId: string, readonly sessionId: string }
  authn_token_invalid: { readonly kind: 'access' | 'refresh', readonly code: string }
  authn_token_reuse: { readonly userId: string, readonly sessionId: string }
  authn_token_revoked: { readonly userId: string, readonly sessionId: string, readonly reason: string }
  session_created: { readonly userId: string, readonly sessionId: string }
  session_renewed: { readonly userId: string, readonly sessionId: string }
  session_expired: { readonly userId: string, readonly sessionId: string }
  authz_fail: { readonly userId: string, readonly reason: string }
  excess_rate_limit_exceeded: { readonly policies: readonly string[] }
  input_validation_fail: { readonly part: string, readonly paths: readonly string[] }
  malicious_cors: { readonly reason: string }
  malicious_csrf: { readonly reason: string }
  csp_violation: { readonly directive: string, readonly blocked: string, readonly disposition: 'enforce' | 'report' | 'unknown' }
  proxy_headers_untrusted: { readonly header: string }
  store_unavailable: { readonly store: string, readonly fallback: string }
  store_recovered: { readonly store: string }
}

export type EventName = keyof EventFields

export type SecurityEvent = { [N in EventName]: { readonly name: N } & EventFields[N] }[EventName]

export type EventLevel = 'info' | 'warn' | 'error'

export const EVENT_LEVELS: Readonly<Record<EventName, EventLevel>> = Object.freeze({
  authn_login_success: 'info',
  authn_login_fail: 'warn',
  authn_token_created: 'info',
  authn_token_invalid: 'warn',
  authn_token_reuse: 'error',
  authn_token_revoked: 'warn',
  session_created: 'info',
  session_renewed: 'info',
  session_expired: 'info',
  authz_fail: 'warn',
  excess_rate_limit_exceeded: 'warn',
  input_validation_fail: 'warn',
  malicious_cors: 'warn',
  malicious_csrf: 'warn',
  csp_violation: 'warn',
  proxy_headers_untrusted: 'warn',
  store_unavailable: 'error',
  store_recovered: 'warn',
})

/**
 * The fields that leave the process, by event. Whatever else an event object carries is dropped, so that a mistake in
 * a plugin cannot publish a value.
 */
export const EVENT_FIELDS: { readonly [N in EventName]: readonly (keyof EventFields[N])[] } = Object.freeze({
  authn_login_success: ['userId'],
  authn_login_fail: ['reason'],
  authn_token_created: ['userId', 'sessionId'],
  authn_token_invalid: ['kind', 'code'],
  authn_token_reuse: ['userId', 'sessionId'],
  authn_token_revoked: ['userId', 'sessionId', 'reason'],
  session_created: ['userId', 'sessionId'],
  session_renewed: ['userId', 'sessionId'],
  session_expired: ['userId', 'sessionId'],
  authz_fail: ['userId', 'reason'],
  excess_rate_limit_exceeded: ['policies'],
  input_validation_fail: ['part', 'paths'],
  malicious_cors: ['reason'],
  malicious_csrf: ['reason'],
  csp_violation: ['directive', 'blocked', 'disposition'],
  proxy_headers_untrusted: ['header'],
  store_unavailable: ['store', 'fallback'],
  store_recovered: ['store'],
})

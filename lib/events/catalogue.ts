/**
 * Every security event, with its log level and its fields. Names are those of the OWASP Logging Vocabulary; the seven
 * that it lacks (`authn_token_invalid`, `address_denied`, `malicious_csrf`, `csp_violation`, `proxy_headers_untrusted`,
 * `store_unavailable`, `store_recovered`) follow its pattern.
 * No event carries a password, a token, a cookie, a full e-mail address or a body value.
 */
export interface EventFields extends SuiteEventFields, AppEventFields {}

/** What the suite itself reports. An app that signs users in by itself may report these, too. */
export interface SuiteEventFields {
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
  address_denied: { readonly list: string }
  input_validation_fail: { readonly part: string, readonly paths: readonly string[] }
  malicious_cors: { readonly reason: string }
  malicious_csrf: { readonly reason: string }
  csp_violation: {
    readonly directive: string
    readonly blocked: string
    readonly disposition: 'enforce' | 'report' | 'unknown'
  }
  proxy_headers_untrusted: { readonly header: string }
  store_unavailable: { readonly store: string, readonly fallback: string }
  store_recovered: { readonly store: string }
  sys_startup: { readonly production: boolean }
  sys_shutdown: { readonly uptimeSeconds: number }
}

/**
 * What only the app can know, and reports with `app.security.events.emit`. Ids are those of the app's own records;
 * `resource` names a kind of thing (`invoice`), never its content.
 */
export interface AppEventFields {
  authn_password_change: { readonly userId: string }
  authn_password_change_fail: { readonly userId: string }
  authn_login_lock: { readonly userId: string, readonly reason: string }
  authz_change: { readonly userId: string, readonly from: string, readonly to: string }
  authz_admin: { readonly userId: string, readonly action: string }
  user_created: { readonly userId: string, readonly by: string }
  user_updated: { readonly userId: string, readonly by: string }
  user_deleted: { readonly userId: string, readonly by: string }
  sensitive_create: { readonly userId: string, readonly resource: string }
  sensitive_read: { readonly userId: string, readonly resource: string }
  sensitive_update: { readonly userId: string, readonly resource: string }
  sensitive_delete: { readonly userId: string, readonly resource: string }
  sequence_fail: { readonly userId: string, readonly step: string }
  malicious_direct_reference: { readonly userId: string, readonly resource: string }
}

export type EventName = keyof EventFields

export type SecurityEvent = { [N in EventName]: { readonly name: N } & EventFields[N] }[EventName]

export type EventLevel = 'info' | 'warn' | 'error'

interface EventEntry<N extends EventName> {
  readonly level: EventLevel
  readonly fields: readonly (keyof EventFields[N] & string)[]
}

const USER_BY = ['userId', 'by'] as const
const USER_RESOURCE = ['userId', 'resource'] as const
const USER_SESSION = ['userId', 'sessionId'] as const

/**
 * The level of each event, and the fields that leave the process. Other fields of an event object are dropped, so that
 * a mistake in a plugin or an app cannot publish a value.
 */
export const EVENTS: { readonly [N in EventName]: EventEntry<N> } = Object.freeze({
  authn_login_success: { level: 'info', fields: ['userId'] },
  authn_login_fail: { level: 'warn', fields: ['reason'] },
  authn_token_created: { level: 'info', fields: USER_SESSION },
  authn_token_invalid: { level: 'warn', fields: ['kind', 'code'] },
  authn_token_reuse: { level: 'error', fields: USER_SESSION },
  authn_token_revoked: { level: 'warn', fields: ['userId', 'sessionId', 'reason'] },
  session_created: { level: 'info', fields: USER_SESSION },
  session_renewed: { level: 'info', fields: USER_SESSION },
  session_expired: { level: 'info', fields: USER_SESSION },
  authz_fail: { level: 'warn', fields: ['userId', 'reason'] },
  excess_rate_limit_exceeded: { level: 'warn', fields: ['policies'] },
  address_denied: { level: 'warn', fields: ['list'] },
  input_validation_fail: { level: 'warn', fields: ['part', 'paths'] },
  malicious_cors: { level: 'warn', fields: ['reason'] },
  malicious_csrf: { level: 'warn', fields: ['reason'] },
  csp_violation: { level: 'warn', fields: ['directive', 'blocked', 'disposition'] },
  proxy_headers_untrusted: { level: 'warn', fields: ['header'] },
  store_unavailable: { level: 'error', fields: ['store', 'fallback'] },
  store_recovered: { level: 'warn', fields: ['store'] },
  sys_startup: { level: 'info', fields: ['production'] },
  sys_shutdown: { level: 'info', fields: ['uptimeSeconds'] },
  authn_password_change: { level: 'info', fields: ['userId'] },
  authn_password_change_fail: { level: 'warn', fields: ['userId'] },
  authn_login_lock: { level: 'warn', fields: ['userId', 'reason'] },
  authz_change: { level: 'warn', fields: ['userId', 'from', 'to'] },
  authz_admin: { level: 'warn', fields: ['userId', 'action'] },
  user_created: { level: 'info', fields: USER_BY },
  user_updated: { level: 'info', fields: USER_BY },
  user_deleted: { level: 'warn', fields: USER_BY },
  sensitive_create: { level: 'info', fields: USER_RESOURCE },
  sensitive_read: { level: 'info', fields: USER_RESOURCE },
  sensitive_update: { level: 'info', fields: USER_RESOURCE },
  sensitive_delete: { level: 'warn', fields: USER_RESOURCE },
  sequence_fail: { level: 'warn', fields: ['userId', 'step'] },
  malicious_direct_reference: { level: 'warn', fields: USER_RESOURCE },
})

export const EVENT_NAMES = Object.freeze(Object.keys(EVENTS)) as readonly EventName[]

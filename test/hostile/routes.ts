import { CANARY } from './app.js'

/** A route of the example server with a request that its schemas accept. */
export interface Target {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** `:id` stands for a UUID that belongs to nobody. */
  readonly url: string
  readonly signedIn?: boolean
  readonly body?: Readonly<Record<string, unknown>>
  readonly query?: Readonly<Record<string, string>>
}

const password = `${CANARY}-Correct-9`

/** Every route with a body. Nothing here ends the session that the tests work in. */
export const BODIES: readonly Required<Pick<Target, 'method' | 'url' | 'body'> & { signedIn: boolean }>[] = [
  {
    method: 'POST',
    url: '/auth/register',
    signedIn: false,
    body: { email: 'taken@example.com', password, fullName: 'Ada Lovelace' },
  },
  { method: 'POST', url: '/auth/login', signedIn: false, body: { email: 'nobody@example.com', password } },
  { method: 'POST', url: '/auth/forgot-password', signedIn: false, body: { email: 'nobody@example.com' } },
  {
    method: 'POST',
    url: '/auth/reset-password',
    signedIn: false,
    body: { token: `${CANARY}${'t'.repeat(33)}`, password },
  },
  { method: 'POST', url: '/me/password', signedIn: true, body: { current: `${password}-old`, password } },
  {
    method: 'POST',
    url: '/projects',
    signedIn: true,
    body: { name: 'Engine', description: 'Analytical', status: 'active' },
  },
  {
    method: 'PATCH',
    url: '/projects/:id',
    signedIn: true,
    body: { name: 'Engine', description: null, status: 'done' },
  },
]

/** Every other route. */
export const OTHERS: readonly Target[] = [
  { method: 'GET', url: '/me', signedIn: true },
  { method: 'GET', url: '/projects', signedIn: true, query: { status: 'active', limit: '10' } },
  { method: 'GET', url: '/projects/:id', signedIn: true },
  { method: 'DELETE', url: '/projects/:id', signedIn: true },
  { method: 'GET', url: '/users/:id', signedIn: true },
  { method: 'GET', url: '/admin/users', signedIn: true, query: { limit: '10' } },
  { method: 'DELETE', url: '/admin/users/:id/sessions', signedIn: true },
  { method: 'GET', url: '/admin/security', signedIn: true },
  { method: 'GET', url: '/auth/sessions', signedIn: true },
  { method: 'DELETE', url: '/auth/sessions/:id', signedIn: true },
  { method: 'DELETE', url: '/auth/sessions', query: { all: 'false' } },
  { method: 'POST', url: '/auth/refresh' },
  { method: 'POST', url: '/auth/logout' },
  { method: 'GET', url: '/healthz' },
  { method: 'GET', url: '/readyz' },
  { method: 'GET', url: '/open/stats' },
  { method: 'GET', url: '/' },
  { method: 'GET', url: '/assets/app.js' },
  { method: 'GET', url: '/.well-known/security.txt' },
  { method: 'POST', url: '/reports/csp' },
]

export const NOBODY = '00000000-0000-4000-8000-000000000000'

export function urlOf ({ url, query }: Target): string {
  const path = url.replace(':id', NOBODY)
  return query === undefined ? path : `${path}?${new URLSearchParams(query).toString()}`
}

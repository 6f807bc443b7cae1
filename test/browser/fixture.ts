// What the services of the browser tests share: one user, secrets made at each start, and limits that no test meets.
import { Type } from '../../index.js'

export const USER = { id: 'u1', roles: ['user'] } as const

const secret = { secret: true, generate: true }

export const ACCOUNTS = {
  env: {
    schema: Type.Object({ JWT_ACCESS_SECRET: Type.String(secret), JWT_REFRESH_SECRET: Type.String(secret) }),
    source: {},
  },
  rateLimit: { policies: { global: { limit: 10_000, window: '1m', by: 'ip' } } },
  auth: {
    roles: ['user'],
    authenticate: async ({ password }: { readonly password: string }): Promise<typeof USER | null> =>
      password === 'right' ? USER : null,
    loadUser: async (): Promise<typeof USER> => USER,
  },
} as const

/** A page that asks for nothing else, not even an icon. */
export function html (body: string, head = ''): string {
  return `<!doctype html><html><head><link rel="icon" href="data:,">${head}</head><body>${body}</body></html>`
}

/** JavaScript: signs in at `origin` (the page's own, unless written), and tells the status or the name of the error. */
export function signingIn (origin = '', init = ''): string {
  return `fetch("${origin}/auth/login", {
    method: "POST", credentials: "include", headers: { "content-type": "application/json" }, body: '{"email":"ada@example.com","password":"right"}' ${init}
  }).then(({ status }) => status, ({ name }) => name)`
}

/** JavaScript: the status of an answer of the page's own origin. */
export function asking (path: string, method = 'GET'): string {
  return `fetch("${path}", { method: "${method}" }).then(({ status }) => status)`
}

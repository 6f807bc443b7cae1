import { defineSecurity } from 'fastify-bulwark'
import { whileConnected, type Passwords } from 'fastify-bulwark/passwords'
import type { Config } from './env.js'
import { ROLES, type Users } from './repositories/users.js'

/** What a sign-in works with. */
export interface Accounts { readonly users: Users, readonly passwords: Passwords }

/** The service's security in one place. What is not written here is the suite's default. */
function define (config: Config, accounts: () => Accounts) {
  return defineSecurity({
    env: config,
    transport: {
      // A visitor who types the name without a scheme gets to the page; the API still refuses plain HTTP.
      ...(config.NODE_ENV === 'production' && { https: 'redirect' as const }),
      ...(config.TRUSTED_PROXIES !== undefined && { proxies: proxiesOf(config.TRUSTED_PROXIES) }),
      ...(config.ALLOWED_HOSTS !== undefined && { hosts: [...config.ALLOWED_HOSTS] }),
      ...(config.PUBLIC_ORIGIN !== undefined && { publicOrigin: config.PUBLIC_ORIGIN }),
    },
    headers: { reporting: { endpoint: '/reports/csp' } },
    // One visit takes four files: within the global limit of 100 requests they would leave little for the visitor's
    // work.
    rateLimit: {
      policies: {
        files: { limit: 1000, window: '15m', by: 'ip' },
        // Many letters to one address are an annoyance. The answer does not tell how many are left.
        letters: { limit: 3, window: '1h', by: { body: 'email' }, expose: false },
        passwords: { limit: 5, window: '15m', by: 'user', count: 'failures' },
      },
    },
    cors: { origin: [...config.ALLOWED_ORIGINS], credentials: true },
    auth: {
      roles: ROLES,
      async authenticate ({ email, password }, request) {
        const { users, passwords } = accounts()
        const found = await users.findByEmail(email)
        // Always one verification: how long the answer takes does not tell whether the account exists.
        const matches = await whileConnected(
          request,
          (signal) =>
            passwords.verify(found?.passwordHash ?? null, password, {
              signal,
              upgrade: async (hash) => {
                if (found !== null) await users.replacePasswordHash(found.user.id, found.passwordHash, hash)
              },
            }),
        )
        return matches && found !== null ? found.user : null
      },
      loadUser: (id) => accounts().users.find(id),
    },
  })
}

/** Inferred, so that the names of the roles and variables are written once. */
export type ExampleSecurity = ReturnType<typeof define>

/** @param accounts asked at a sign-in: the definition can be checked before there is a database */
export function defineExampleSecurity (config: Config, accounts: () => Accounts): ExampleSecurity {
  return define(config, accounts)
}

/** `none` says that clients connect directly. */
function proxiesOf (list: readonly string[]): 'none' | string[] {
  return list.length === 1 && list[0] === 'none' ? 'none' : [...list]
}

import type { FastifyInstance } from 'fastify'
import type { CookiePair } from './cookies.js'
import type { CredentialSource } from './credentials.js'
import type { Sessions } from './sessions.js'
import type { UserModel } from './users.js'

/** What opens a real session without asking for credentials; for `fastify-bulwark/testing` only. */
export interface AuthParts {
  readonly sessions: Sessions
  readonly users: UserModel
  readonly sources: readonly CredentialSource[]
  /** Those with Secure. */
  readonly cookies: CookiePair
  /** Where the built-in routes stand. */
  readonly path: string
}

/** Beside the instance and not on it: code that holds only the app cannot open sessions. */
const PARTS = new WeakMap<object, AuthParts>()

export function keepParts (app: FastifyInstance, parts: AuthParts): void {
  PARTS.set(app, parts)
}

/** The parts that hold on this instance; null when it has no auth plugin. */
export function partsOf (app: object): AuthParts | null {
  for (let at: object | null = app; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const parts = PARTS.get(at)
    if (parts !== undefined) return parts
  }
  return null
}

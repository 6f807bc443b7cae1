/**
 * What the server enforces, seen from one place: `app.security.posture()` lists every route with its resolved policy,
 * and what is turned off. Also the owner of `app.secureScope`.
 */
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { claimRegistration, overrideScope, publish, securityOf } from '../lib/policy/install.js'
import type { ResolvedRouteSecurity, SecureScopeOptions, SecurityShape } from '../lib/policy/types.js'

/** A route as it is enforced. */
export interface RoutePosture {
  readonly method: string
  readonly url: string
  readonly security: ResolvedRouteSecurity
}

export interface Posture {
  readonly production: boolean
  /** Keys of plugins that were turned off with `false`. */
  readonly off: readonly string[]
  readonly routes: readonly RoutePosture[]
}

declare module '../lib/policy/types.js' {
  interface SecurityApi {
    /** Every route with the policy that is enforced on it. */
    readonly posture: () => Posture
  }
}

const posturePlugin: FastifyPluginAsync<{ off?: readonly string[] }> = async (app, { off = [] }) => {
  claimRegistration(app, 'posture')
  const scope = securityOf(app)
  const { root } = scope
  publish(scope, 'posture', () => ({
    production: root.production,
    off: [...off],
    routes: root.routes.map(({ info, policy }) => ({ method: info.method, url: info.url, security: root.compiled.get(policy)?.policy ?? policy })),
  }))
  app.decorate('secureScope', secureScope)
}

/** Errors of `routes` surface where the scope is awaited, or when the server gets ready. */
function secureScope (this: FastifyInstance, options: SecureScopeOptions<SecurityShape>, routes: (scope: FastifyInstance) => void | Promise<void>): PromiseLike<void> {
  const { prefix, ...overrides } = options
  const where = `secureScope(${prefix ?? '/'})`
  const loaded = this.register(async (scope) => {
    overrideScope(scope, overrides, where)
    await routes(scope)
  }, prefix === undefined ? {} : { prefix })
  return loaded
}

export const posture = fp(posturePlugin, { name: 'bulwark-posture', fastify: '5.x' })
export default posture

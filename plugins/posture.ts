/**
 * What the server enforces, seen from one place: `app.security.posture()` lists every route with its resolved policy,
 * and what is turned off. Also the owner of `app.secureScope`.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { overrideScope, publish, routePolicy } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityScope } from '../lib/policy/scope.js'
import type { RouteInfo } from '../lib/policy/section.js'
import type { ResolvedRouteSecurity, SecureScopeOptions, SecurityShape } from '../lib/policy/types.js'
import { bodyCheckOf } from '../lib/validation/media-types.js'
import { declaredStatuses } from '../lib/validation/statuses.js'

/** A route as it is enforced. */
export interface RoutePosture {
  readonly method: string
  readonly url: string
  readonly security: ResolvedRouteSecurity
  /** Who checks the request body: a schema, the handler alone, or there is none. */
  readonly body: 'schema' | 'unchecked' | 'none'
  /** Whether a response schema drops what it does not declare; without one a handler's answer leaves as it is. */
  readonly responseSchema: boolean
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

const PostureOptionsSchema = Type.Object({
  off: Type.Optional(Type.Array(Type.String(), { description: 'Keys of plugins that are turned off.' })),
}, { additionalProperties: false })

interface ResolvedPosturePolicy { readonly off: readonly string[] }

function installPosture (app: FastifyInstance, { off }: ResolvedPosturePolicy, scope: SecurityScope): void {
  const { root } = scope
  publish(scope, 'posture', () => ({
    production: root.production,
    off: [...off],
    routes: root.routes.map((record) => {
      const { info } = record
      const security = routePolicy(root, record)
      return {
        method: info.method,
        url: info.url,
        security,
        body: bodyCheckOf(info, security.validation),
        responseSchema: hasResponseSchema(info),
      }
    }),
  }))
  app.decorate('secureScope', secureScope)
  app.addHook('onReady', function listUncheckedAnswers (done) {
    const routes = root.routes.filter(({ info }) =>
      info.method !== 'HEAD' && info.method !== 'OPTIONS' && !hasResponseSchema(info)
    ).map(({ info }) => info.label)
    // In production nothing can be fixed, and each process would say it again: the posture has it.
    if (!root.production && routes.length > 0) {
      app.log.warn(
        { routes },
        'these routes have no response schema, so everything that their handlers return leaves the server',
      )
    }
    done()
  })
}

/** Schemas of errors alone leave what the handler returns as it is. */
function hasResponseSchema ({ schema }: RouteInfo): boolean {
  return declaredStatuses(schema.response) !== null
}

/** Errors of `routes` surface where the scope is awaited, or when the server gets ready. */
function secureScope (
  this: FastifyInstance,
  options: SecureScopeOptions<SecurityShape>,
  routes: (scope: FastifyInstance) => void | Promise<void>,
): PromiseLike<void> {
  const { prefix, ...overrides } = options
  const where = `secureScope(${prefix ?? '/'})`
  const loaded = this.register(async (scope) => {
    overrideScope(scope, overrides, where)
    await routes(scope)
  }, prefix === undefined ? {} : { prefix })
  return loaded
}

export const posture = defineSecurityPlugin<typeof PostureOptionsSchema, ResolvedPosturePolicy>({
  key: 'posture',
  options: PostureOptionsSchema,
  resolve: ({ off = [] }) => Object.freeze({ off: Object.freeze([...off]) }),
  install: installPosture,
})
export default posture

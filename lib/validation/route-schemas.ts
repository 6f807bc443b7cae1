import type { Problem } from '../response/errors.js'
import type { RouteInfo } from '../policy/section.js'
import type { PartRequest } from './compiler.js'
import { isSchema } from './json-schema.js'
import { contentOf } from './media-types.js'
import type { ResolvedValidationPolicy } from './policy.js'

/**
 * Finds the policy of the route that a schema is compiled for. Fastify tells its compiler the route's method and URL,
 * which routes for several hosts or versions share, and passes the schema object as it was written.
 */
export class RouteSchemas {
  readonly #routes = new Map<string, Map<RouteInfo, ResolvedValidationPolicy>>()
  readonly #compiled = new WeakSet<RouteInfo>()

  add (route: RouteInfo, policy: ResolvedValidationPolicy): void {
    const key = `${route.method} ${route.url}`
    const routes = this.#routes.get(key) ?? new Map<RouteInfo, ResolvedValidationPolicy>()
    this.#routes.set(key, routes.set(route, policy))
  }

  /** What the route of this part does with unknown keys; `'reject'` for a schema of no route. */
  unknownOf ({ schema, method = '', url = '' }: PartRequest, report: (problem: Problem) => void): 'reject' | 'strip' {
    const routes = [...this.#routes.get(`${[method].flat().join('|')} ${url}`) ?? []]
      .filter(([route]) => schemasOf(route).includes(schema))
    const found = new Set(routes.map(([, { unknown }]) => unknown))
    for (const [route] of routes) this.#compiled.add(route)
    if (found.size > 1) {
      report({
        path: `${routes[0]?.[0].label ?? ''} security.validation.unknown`,
        message: 'Two routes of this method and URL share a schema object, and differ in `unknown`.',
        fix: 'Give each of them a schema object of its own.',
      })
    }
    return found.size === 1 && found.has('strip') ? 'strip' : 'reject'
  }

  /** Whether a body or query string schema of the route was compiled by the plugin. */
  isCompiled (route: RouteInfo): boolean {
    return this.#compiled.has(route)
  }
}

/** The schemas of a route on which `unknown` has an effect. */
export function schemasOf ({ schema: { body, querystring, query } }: RouteInfo): unknown[] {
  const content = contentOf(body)
  const bodies = content === null
    ? [body]
    : Object.values(content).map((entry) => isSchema(entry) ? entry['schema'] : undefined)
  return [...bodies, querystring, query].filter((schema) => schema !== undefined)
}

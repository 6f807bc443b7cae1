import type { RouteInfo } from '../policy/section.js'
import type { RouteRecord } from '../policy/scope.js'
import type { PartRequest } from './compiler.js'
import { isSchema } from './json-schema.js'
import { contentOf } from './media-types.js'

/**
 * The routes that a schema is compiled for. Fastify tells its compiler the route's method and URL, which routes for
 * several hosts or versions share, and passes the schema object as it was written.
 */
export function routesOf<Route extends Pick<RouteRecord, 'info'>> (
  { schema, method = '', url = '' }: PartRequest,
  routes: readonly Route[],
): Route[] {
  const label = `${[method].flat().join('|')} ${url}`
  return routes.filter(({ info }) => info.label === label && schemasOf(info).includes(schema))
}

/** The schemas of a route on which `unknown` has an effect. */
export function schemasOf ({ schema: { body, querystring, query } }: RouteInfo): unknown[] {
  const content = contentOf(body)
  const bodies = content === null
    ? [body]
    : Object.values(content).map((entry) => isSchema(entry) ? entry['schema'] : undefined)
  return [...bodies, querystring, query].filter((schema) => schema !== undefined)
}

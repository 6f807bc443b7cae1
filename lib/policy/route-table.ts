import type { FastifyInstance } from 'fastify'
import createRouter, { type HTTPMethod } from 'find-my-way'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RouteRecord, SecurityRoot } from './scope.js'

/** Finds the route that another method on the same URL would reach. */
export interface RouteTable {
  /**
   * The record that `method` on this request's URL matches (host and version constraints included), or null; null too
   * for a method that is not served.
   */
  find (method: string, request: IncomingMessage): RouteRecord | null
  /** The methods that this request's URL answers. */
  methods (request: IncomingMessage): string[]
}

const TABLES = new WeakMap<SecurityRoot, RouteTable>()

/** The server's one table. Ask for it when all routes are known, at the earliest in `onReady`. */
export function routeTableOf (root: SecurityRoot): RouteTable {
  let table = TABLES.get(root)
  if (table === undefined) {
    table = createRouteTable(root)
    TABLES.set(root, table)
  }
  return table
}

/**
 * A second router with the server's own routes and matching rules, because Fastify's does not tell which route another
 * method would reach.
 */
function createRouteTable (root: SecurityRoot): RouteTable {
  const app = root.instance
  // Written under `routerOptions`, they show there alone.
  const {
    caseSensitive,
    ignoreTrailingSlash,
    ignoreDuplicateSlashes,
    maxParamLength,
    allowUnsafeRegex,
    useSemicolonDelimiter,
  } = { ...app.initialConfig, ...app.initialConfig.routerOptions }
  const router = createRouter({
    ...definedOnly({
      caseSensitive,
      ignoreTrailingSlash,
      ignoreDuplicateSlashes,
      maxParamLength,
      allowUnsafeRegex,
      useSemicolonDelimiter,
    }),
    defaultRoute: () => null,
    onBadUrl: () => null,
  })
  const methods = new Set<string>()
  for (const record of root.routes) {
    // A custom constraint is decided by a strategy that only the server's own router has: such a route gets no
    // preflight.
    if (Object.keys(record.constraints).some((name) => name !== 'host' && name !== 'version')) continue
    for (const method of record.info.method.split('|')) {
      methods.add(method)
      for (const url of urlsOf(app, method, record)) {
        if (router.findRoute(method as HTTPMethod, url, record.constraints) !== null) continue
        router.on(method as HTTPMethod, url, { constraints: record.constraints }, () => record)
      }
    }
  }
  const find = (method: string, request: IncomingMessage): RouteRecord | null => {
    if (!methods.has(method) || root.servedMethods?.has(method) === false) return null
    const { url, headers } = request
    return router.lookup({ method, url, headers } as IncomingMessage, NO_RESPONSE) as RouteRecord | null
  }
  return { find, methods: (request) => [...methods].filter((method) => find(method, request) !== null) }
}

/** The router hands it to the handlers, which do not touch it. */
const NO_RESPONSE = {} as ServerResponse

/** A route at the root of a prefix also answers with a trailing slash, without a second `onRoute`. */
function urlsOf (app: FastifyInstance, method: string, { info, constraints }: RouteRecord): string[] {
  const slashed = `${info.url}/`
  if (info.url === '' || info.url.endsWith('/') || info.url.endsWith('*')) return [info.url]
  return app.hasRoute({ method: method, url: slashed, constraints }) ? [info.url, slashed] : [info.url]
}

function definedOnly<T extends object> (options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}

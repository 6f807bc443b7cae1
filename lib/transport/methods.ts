import { METHODS } from 'node:http'
import type { Problem } from '../response/errors.js'

/** What Fastify routes by default, without TRACE. */
export const DEFAULT_METHODS: readonly string[] = Object.freeze([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'QUERY',
])

/** They echo a request with its credentials (TRACE, TRACK) or open a tunnel (CONNECT): OWASP ASVS 5.0, V4.1.4. */
const NEVER: ReadonlySet<string> = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** The methods that are served. */
export function resolveMethods (list: readonly string[] | undefined, problems: Problem[]): ReadonlySet<string> {
  const path = 'transport.methods'
  if (list === undefined) return new Set(DEFAULT_METHODS)
  if (list.length === 0) {
    problems.push({
      path,
      message: 'An empty list refuses every request.',
      fix: 'List the methods, or leave the option out.',
    })
  }
  for (const [index, method] of list.entries()) {
    if (NEVER.has(method.toUpperCase())) {
      problems.push({
        path: `${path}[${index}]`,
        message: `${method.toUpperCase()} is never served.`,
        fix: 'Remove it: it echoes credentials or opens a tunnel.',
      })
    } else if (!METHODS.includes(method)) {
      problems.push({
        path: `${path}[${index}]`,
        message: 'Not a method that Node parses.',
        fix: 'Write methods in upper case: GET, POST.',
      })
    }
  }
  return new Set(list)
}

/** Reports a route that none of whose methods is served: it would answer 405 for ever. */
export function checkRouteMethods (
  methods: readonly string[],
  served: ReadonlySet<string>,
  where: string,
  problems: Problem[],
): void {
  // Fastify declares HEAD beside each GET by itself.
  if (methods.every((method) => method !== 'HEAD' && !served.has(method))) {
    problems.push({
      path: where,
      message: 'This method is not served.',
      fix: 'Add it to transport.methods, or remove the route. TRACE and CONNECT are never served.',
    })
  }
}

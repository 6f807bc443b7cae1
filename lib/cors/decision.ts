import type { FastifyRequest } from 'fastify'
import type { PreparedHeaders } from '../response/headers.js'
import type { ResolvedCorsPolicy } from './resolve.js'

/** What a preflight (Fetch, section 4.8) asks for. */
export interface PreflightQuestion {
  readonly origin: string
  /** `Access-Control-Request-Method`, which the route has. */
  readonly method: string
  /** `Access-Control-Request-Headers` */
  readonly headers: string | undefined
  /** True when a public page asks for a server on a private network (Private Network Access, section 3.1). */
  readonly privateNetwork: boolean
}

export type PreflightDecision =
  | { readonly granted: true, readonly headers: PreparedHeaders }
  | { readonly granted: false, readonly reason: 'no-cors' | 'method' | 'origin' | 'header' | 'private-network' }

/** Decides a preflight against the policy of the route and method it asks for. */
export function decidePreflight (
  policy: ResolvedCorsPolicy | false,
  question: PreflightQuestion,
  request: FastifyRequest,
): PreflightDecision {
  if (policy === false) return { granted: false, reason: 'no-cors' }
  if (!policy.allowsMethod(question.method)) return { granted: false, reason: 'method' }
  const grant = policy.grants.find(question.origin, request)
  if (grant === null) return { granted: false, reason: 'origin' }
  if (!policy.allowsHeaders(question.headers ?? '')) return { granted: false, reason: 'header' }
  if (!question.privateNetwork) return { granted: true, headers: grant.preflight }
  return grant.privatePreflight === null
    ? { granted: false, reason: 'private-network' }
    : { granted: true, headers: grant.privatePreflight }
}

import type { ResolvedCorsPolicy } from './resolve.js'

/** The headers that an actual response gets for this origin, or null when the origin is not allowed. */
export function decideActual (policy: ResolvedCorsPolicy, origin: string): Readonly<Record<string, string>> | null {
  return policy.blocks.get(origin) ?? policy.blocks.get('*') ?? null
}

export type PreflightDecision =
  | { readonly granted: true, readonly headers: Readonly<Record<string, string>> }
  | { readonly granted: false, readonly reason: 'no-cors' | 'origin' | 'header' }

/** Decides a preflight (Fetch, section 4.8) against the policy of the route and method it asks for. */
export function decidePreflight (policy: ResolvedCorsPolicy | false, origin: string, requestedHeaders: string | undefined): PreflightDecision {
  if (policy === false) return { granted: false, reason: 'no-cors' }
  const headers = policy.preflightBlocks.get(origin) ?? policy.preflightBlocks.get('*')
  if (headers === undefined) return { granted: false, reason: 'origin' }
  if (requestedHeaders !== undefined && requestedHeaders !== '') {
    for (const name of requestedHeaders.split(',')) {
      if (!policy.allowedHeaders.has(name.trim().toLowerCase())) return { granted: false, reason: 'header' }
    }
  }
  return { granted: true, headers }
}

import { isSchema } from './json-schema.js'

/**
 * Whether a route's response schemas say what a success of this status holds; null where they describe no success at
 * all.
 * As Fastify finds them: the status itself, then its hundred (`2xx`), then `default`.
 */
export function declaredStatuses (response: unknown): ((status: number) => boolean) | null {
  if (!isSchema(response)) return null
  const keys = new Set(Object.keys(response).map((key) => key.toLowerCase()))
  if (![...keys].some((key) => /^[23]/.test(key) || key === 'default')) return null
  return (status) =>
    status >= 400 || keys.has('default') || keys.has(String(status)) || keys.has(`${Math.floor(status / 100)}xx`)
}

import type { FastifyInstance } from 'fastify'

/**
 * Routes that exist already, as `GET,HEAD /users/:id`. `onRoute` never sees those, so this is the only way to name
 * the routes that were declared before the suite. Read from Fastify's public route tree.
 */
export function declaredRoutes (instance: FastifyInstance): string[] {
  const path: string[] = []
  const routes: string[] = []
  for (const line of instance.printRoutes().split('\n')) {
    // Each level of the tree is four characters of drawing, then the segment, then its methods.
    const match = /^((?:│ {3}| {4})*)(├── |└── )?(.*)$/.exec(line)
    const text = (match?.[3] ?? '').replace('(empty root node)', '')
    const route = /^(.*) \(([A-Z, -]+)\)(?: \{.*\})?$/.exec(text)
    if (match?.[2] !== undefined) {
      const depth = (match[1]?.length ?? 0) / 4
      path.length = depth
      path[depth] = route?.[1] ?? text
    }
    if (route?.[2] !== undefined) routes.push(`${route[2].replaceAll(' ', '')} ${path.join('')}`)
  }
  return routes
}

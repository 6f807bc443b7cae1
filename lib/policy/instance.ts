import type { FastifyInstance } from 'fastify'

/** True for the instance that `fastify()` returned, false inside a `register` scope. */
export function isRootInstance (instance: FastifyInstance): boolean {
  return parentOf(instance) === null
}

/** The instance that `fastify()` returned. */
export function rootOf (instance: FastifyInstance): FastifyInstance {
  let at = instance
  for (let parent = parentOf(at); parent !== null; parent = parentOf(at)) at = parent
  return at
}

/** The instance that this one was made from; null for the root. Fastify makes a child with its parent as prototype. */
export function parentOf (instance: FastifyInstance): FastifyInstance | null {
  const parent = Object.getPrototypeOf(instance) as Partial<FastifyInstance> | null
  return typeof parent?.register === 'function' ? parent as FastifyInstance : null
}

import type { FastifyInstance, FastifyReply } from 'fastify'

/**
 * Puts a method of the suite before one of Fastify's own on the replies of this instance. `run` gets the reply and a
 * function that goes on with Fastify's method.
 */
export function wrapReplyMethod<Name extends 'hijack' | 'removeHeader'> (app: FastifyInstance, name: Name, run: (reply: FastifyReply, args: Parameters<FastifyReply[Name]>, goOn: () => FastifyReply) => FastifyReply): void {
  app.decorateReply<unknown>(name, wrapped)

  function wrapped (this: FastifyReply, ...args: Parameters<FastifyReply[Name]>): FastifyReply {
    return run(this, args, () => Reflect.apply(above(this)[name], this, args) as FastifyReply)
  }

  /** The prototype with Fastify's own method, which the decoration shadows on this instance's replies. */
  function above (reply: FastifyReply): FastifyReply {
    let at = reply
    while (!Object.hasOwn(at, name) || at[name] !== wrapped) at = Object.getPrototypeOf(at) as FastifyReply
    return Object.getPrototypeOf(at) as FastifyReply
  }
}

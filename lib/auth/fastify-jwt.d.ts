/**
 * @fastify/jwt in this program. Its own types declare one `request.user` for a whole program, and ours differ for each
 * instance, so they stay out (`paths` in tsconfig.json); test/types compiles both together. No published type of this
 * suite imports @fastify/jwt, but for `fastify-bulwark/jwt`.
 */
import type { FastifyPluginCallback } from 'fastify'
import type { Jwt, JwtRegistration } from './jwt-types.js'

interface RequestFunction {
  <Decoded extends object> (callback: (error: Error | null, payload?: Decoded) => void): void
  <Decoded extends object> (options?: object): Promise<Decoded>
}

declare module 'fastify' {
  interface FastifyInstance { jwt: Jwt }
  interface FastifyRequest { jwtVerify: RequestFunction, jwtDecode: RequestFunction }
}

declare const fastifyJwt: FastifyPluginCallback<Omit<JwtRegistration, 'namespace'> & { readonly namespace?: string }>
export default fastifyJwt

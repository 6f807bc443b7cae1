/**
 * Types of the decorators that the auth option `jwtDecorators` turns on: those of @fastify/jwt, which makes them.
 * Import it once, where they are used.
 */
import '@fastify/jwt'
import type { LooseShape, SecurityShape } from './lib/policy/types.js'

/** What the access token of a session says: `request.jwtVerify<AccessPayload>()`. */
export type AccessPayload<S extends SecurityShape = LooseShape> = {
  readonly iss: string
  readonly aud: string
  readonly sub: string
  readonly sid: string
  readonly roles: readonly S['roles'][]
  /** Separated by spaces (RFC 9068). */
  readonly scope?: string
  readonly tv: number
  readonly auth_time: number
  readonly amr: readonly string[]
  readonly iat: number
  readonly exp: number
  readonly jti: string
} & S['claims']

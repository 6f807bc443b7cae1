/**
 * What this suite uses of @fastify/jwt. Its own types declare one `request.user` for a whole program, and ours differ
 * for each instance, so they stay out of this program (`paths` in tsconfig.json). test/types compiles both together.
 */
import type { FastifyPluginCallback, FastifyRequest } from 'fastify'

type Callback<T> = (error: Error | null, value?: T) => void

export interface JwtSignOptions {
  readonly algorithm?: string
  readonly kid?: string
  readonly header?: Readonly<Record<string, string>>
  readonly iss?: string
  readonly aud?: string
  readonly sub?: string
  /** Seconds, or a text such as `10m`. */
  readonly expiresIn?: number | string
}

export interface JwtVerifyOptions {
  readonly algorithms?: readonly string[]
  readonly allowedIss?: string
  readonly allowedAud?: string
  readonly requiredClaims?: readonly string[]
  readonly ignoreExpiration?: boolean
  readonly ignoreNotBefore?: boolean
  readonly extractToken?: (request: FastifyRequest) => string
}

export type SecretFunction = (
  request: FastifyRequest,
  payload: unknown,
  done: (error: Error | null, secret?: string) => void,
) => void

export interface FastifyJWTOptions {
  readonly secret: Buffer | { readonly private?: string | Buffer, readonly public: string | SecretFunction }
  readonly sign?: JwtSignOptions
  readonly verify?: JwtVerifyOptions
  readonly trusted?: (request: FastifyRequest) => Promise<boolean>
  readonly namespace?: string
  readonly decoratorName?: string
  readonly jwtVerify?: string
  readonly jwtDecode?: string
  readonly jwtSign?: string
}

export interface JWT {
  sign (payload: object, options?: JwtSignOptions): string
  verify<Decoded extends object> (token: string, options?: JwtVerifyOptions): Decoded
  verify<Decoded extends object> (token: string, callback: Callback<Decoded>): void
  decode<Decoded extends object> (token: string, options?: { readonly complete?: boolean }): Decoded | null
}

interface RequestFunction {
  <Decoded extends object> (callback: Callback<Decoded>): void
  <Decoded extends object> (options?: object): Promise<Decoded>
}

declare module 'fastify' {
  interface FastifyInstance { jwt: JWT }
  interface FastifyRequest { jwtVerify: RequestFunction, jwtDecode: RequestFunction }
}

declare const fastifyJwt: FastifyPluginCallback<FastifyJWTOptions>
export default fastifyJwt

import type { FastifyRequest } from 'fastify'

/** How a token is signed by @fastify/jwt. */
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

/** How a token is verified by @fastify/jwt. */
export interface JwtVerifyOptions {
  readonly algorithms?: readonly string[]
  readonly allowedIss?: string
  readonly allowedAud?: string
  readonly requiredClaims?: readonly string[]
  readonly ignoreExpiration?: boolean
  readonly ignoreNotBefore?: boolean
  readonly extractToken?: (request: FastifyRequest) => string
}

/** Finds the key of a request's token. */
export type JwtKeyFinder = (
  request: FastifyRequest,
  payload: unknown,
  done: (error: Error | null, secret?: string) => void,
) => void

/** The options of one registration of @fastify/jwt, as far as this suite uses them. */
export interface JwtRegistration {
  readonly namespace: string
  readonly secret: Buffer | { readonly private?: string | Buffer, readonly public: string | JwtKeyFinder }
  readonly sign?: JwtSignOptions
  readonly verify?: JwtVerifyOptions
  readonly trusted?: (request: FastifyRequest) => Promise<boolean>
  readonly decoratorName?: string
  readonly jwtVerify?: string
  readonly jwtDecode?: string
  readonly jwtSign?: string
}

/** What a registration makes: `app.jwt`, or one namespace of it. */
export interface Jwt {
  sign (payload: object, options?: JwtSignOptions): string
  verify<Decoded extends object> (token: string, callback: (error: Error | null, payload?: Decoded) => void): void
  verify<Decoded extends object> (token: string, options?: JwtVerifyOptions): Decoded
  decode<Decoded extends object> (token: string, options?: { readonly complete?: boolean }): Decoded | null
}

import type { Duration } from '../options/duration.js'
import type { LooseShape, SecurityShape } from '../policy/types.js'

/** What `request.jwtVerify` resolves to: the payload of this suite's access token. */
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

export interface JwtVerifyOptions {
  /** A Bearer token counts as none. */
  readonly onlyCookie?: boolean
}

export interface JwtDecodeOptions {
  readonly decode?: { readonly complete?: boolean }
  readonly verify?: JwtVerifyOptions
}

export interface JwtSignOptions {
  /** Seconds, or a duration such as `'10m'`; default accessTtl, at most refreshAbsolute. */
  readonly expiresIn?: number | Duration
  readonly sub?: string
  readonly jti?: string
}

export type JwtSignPayload = Readonly<Record<string, unknown>>
export type JwtCallback<T> = (error: Error | null, value: T) => void

/** An access token of another shape than the service's is a 401, so `Decoded` only ever narrows what is known. */
export interface JwtVerify<S extends SecurityShape> {
  <Decoded extends object = AccessPayload<S>>(options?: JwtVerifyOptions | JwtDecodeOptions): Promise<Decoded>
  <Decoded extends object = AccessPayload<S>>(callback: JwtCallback<Decoded>): void
  <Decoded extends object = AccessPayload<S>>(
    options: JwtVerifyOptions | JwtDecodeOptions,
    callback: JwtCallback<Decoded>,
  ): void
}

export interface JwtDecode<S extends SecurityShape> {
  <Decoded extends object = AccessPayload<S>>(options?: JwtDecodeOptions): Promise<Decoded>
  <Decoded extends object = AccessPayload<S>>(callback: JwtCallback<Decoded>): void
  <Decoded extends object = AccessPayload<S>>(options: JwtDecodeOptions, callback: JwtCallback<Decoded>): void
}

export interface JwtSign {
  (payload: JwtSignPayload, options?: JwtSignOptions | { readonly sign: JwtSignOptions }): Promise<string>
  (payload: JwtSignPayload, callback: JwtCallback<string>): void
  (
    payload: JwtSignPayload,
    options: JwtSignOptions | { readonly sign: JwtSignOptions },
    callback: JwtCallback<string>,
  ): void
}

/** `app.jwt`: for tokens of the app's own. None of them passes a guard, and no session's token passes `verify`. */
export interface JwtApi {
  sign (payload: JwtSignPayload, options?: JwtSignOptions | { readonly sign: JwtSignOptions }): string
  sign (payload: JwtSignPayload, callback: JwtCallback<string>): void
  sign (
    payload: JwtSignPayload,
    options: JwtSignOptions | { readonly sign: JwtSignOptions },
    callback: JwtCallback<string>,
  ): void
  /** @throws SecurityError, 401 `TOKEN_INVALID` or `TOKEN_EXPIRED` */
  verify<Decoded extends object> (token: string): Readonly<Decoded>
  verify<Decoded extends object> (token: string, callback: JwtCallback<Decoded>): void
  /** Any token; nothing is verified. @throws SecurityError, 401 `TOKEN_INVALID`, when it is none */
  decode<Decoded extends object> (token: string, options?: { readonly complete?: boolean }): Readonly<Decoded>
}

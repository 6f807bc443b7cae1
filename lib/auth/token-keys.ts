import type { KeyObject } from 'node:crypto'
import type { Jwt, JwtRegistration } from './jwt-types.js'
import type { Keyring, TokenAlgorithm } from './keyring.js'

/** One key of a keyring, as @fastify/jwt holds it. */
export interface TokenKey {
  /** The one spelling of a header that selects this key. */
  readonly header: string
  readonly alg: TokenAlgorithm
  /** The secret or the public key, for the verifier of `request.jwtVerify`. */
  readonly verifyWith: KeyObject
  /** Epoch seconds from which its tokens are refused. */
  readonly until: number
  /** Signs with the current key only. */
  readonly jwt: Jwt
}

/** The keys that one kind of token is signed and verified with. */
export interface TokenKeys {
  readonly keyring: Keyring
  readonly current: TokenKey
  /** The current key and those that only verify. */
  readonly all: readonly TokenKey[]
}

/** The registrations of @fastify/jwt for one kind of token: one namespace a key, one algorithm a key. */
export function keyRegistrations (typ: string, keyring: Keyring): readonly JwtRegistration[] {
  return keysOf(keyring).map(({ kid, alg, verifyWith, signWith }) => ({
    namespace: namespaceOf(typ, kid),
    secret: secretOf(verifyWith, signWith),
    sign: { algorithm: alg, kid, header: { alg, typ } },
    // The codec judges times by the clock that all instances share.
    verify: { algorithms: [alg], ignoreExpiration: true, ignoreNotBefore: true },
  }))
}

/** @param jwt what the registrations made, by namespace */
export function tokenKeys (typ: string, keyring: Keyring, jwt: Readonly<Record<string, Jwt>>): TokenKeys {
  const all = keysOf(keyring).map(({ kid, alg, verifyWith, until }): TokenKey => {
    const registered = jwt[namespaceOf(typ, kid)]
    if (registered === undefined) throw new Error('auth: a key of the keyring was not registered')
    return Object.freeze({ header: headerText(alg, typ, kid), alg, verifyWith, until, jwt: registered })
  })
  return Object.freeze<TokenKeys>({ keyring, current: all[0] as TokenKey, all: Object.freeze(all) })
}

interface AnyKey {
  readonly kid: string
  readonly alg: TokenAlgorithm
  readonly verifyWith: KeyObject
  readonly signWith: KeyObject | null
  readonly until: number
}

function keysOf ({ current, verifyOnly }: Keyring): readonly AnyKey[] {
  return [{ ...current, until: Infinity }, ...verifyOnly.map((key) => ({ ...key, signWith: null }))]
}

function namespaceOf (typ: string, kid: string): string {
  return `${typ} ${kid}`
}

/** The first segment as fast-jwt writes it; a test holds the two together. */
function headerText (alg: TokenAlgorithm, typ: string, kid: string): string {
  return Buffer.from(JSON.stringify({ alg, typ, kid })).toString('base64url')
}

function secretOf (verifyWith: KeyObject, signWith: KeyObject | null): JwtRegistration['secret'] {
  if (verifyWith.type === 'secret') return verifyWith.export()
  const publicKey = verifyingText(verifyWith)
  if (signWith === null) return { public: publicKey }
  return { public: publicKey, private: signWith.export({ format: 'pem', type: 'pkcs8' }).toString() }
}

/** A secret, or the PEM of a public key, as text. */
export function verifyingText (key: KeyObject): string {
  return (key.type === 'secret' ? key.export() : key.export({ format: 'pem', type: 'spki' })).toString()
}

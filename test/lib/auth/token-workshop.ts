import { createHmac, createPrivateKey, generateKeyPairSync, randomBytes, sign, type KeyObject,
  type KeyPairKeyObjectResult } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { resolveKeyring, secretKeyring, type Keyring, type KeyringOption,
  type TokenAlgorithm } from '../../../lib/auth/keyring.js'
import { createId } from '../../../lib/auth/rotation.js'
import type { SessionPolicy, SessionStore } from '../../../lib/auth/session-store.js'
import { ACCESS_TYPE, REFRESH_TYPE } from '../../../lib/auth/session-tokens.js'
import { createSessions, type Sessions } from '../../../lib/auth/sessions.js'
import type { TokenCodec, TokenTimes } from '../../../lib/auth/tokens.js'
import { createUserModel } from '../../../lib/auth/users.js'
import type { Problem } from '../../../lib/response/errors.js'
import { registerKeys } from '../../../plugins/auth.js'

export const NOW = 1_800_000_000
export type Claims = Record<string, unknown>

export const POLICY: SessionPolicy = Object.freeze({
  idleMs: 7 * 86_400_000,
  absoluteMs: 30 * 86_400_000,
  graceMs: 10_000,
  tombstoneMs: 905_000,
  maxSessions: 100,
  whenFull: 'evict',
  onReuse: 'session',
})

export const newSecret = (): string => randomBytes(32).toString('base64url')

export type AsymmetricAlgorithm = Exclude<TokenAlgorithm, 'HS256'>
export interface Pems { readonly privateKey: string, readonly publicKey: string }

function pemsOf ({ privateKey, publicKey }: KeyPairKeyObjectResult): Pems {
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

export function newPems (alg: AsymmetricAlgorithm): Pems {
  switch (alg) {
    case 'ES256': return pemsOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }))
    case 'EdDSA': return pemsOf(generateKeyPairSync('ed25519'))
    case 'RS256': return pemsOf(generateKeyPairSync('rsa', { modulusLength: 2048 }))
  }
}

export function ring (option: KeyringOption, kind: 'access' | 'refresh' = 'access'): Keyring {
  const problems: Problem[] = []
  const keyring = resolveKeyring(option, kind, kind, problems)
  if (keyring === null) throw new Error(problems.map(({ path, message }) => `${path}: ${message}`).join('\n'))
  return keyring
}

/** Any call but for the time is a failure: reading a token asks no store. */
const noStore = new Proxy({}, {
  get: (_target, name) =>
    name === 'now' ? () => NOW * 1000 : () => {
      throw new Error(`the store was asked: ${String(name)}`)
    },
}) as SessionStore

export async function sessionsWith (
  accessKeys: Keyring,
  refreshKeys: Keyring,
  store: SessionStore = noStore,
): Promise<Sessions> {
  return createSessions({
    users: createUserModel(['user', 'admin'], Type.Object({ tenant: Type.String() })),
    accessKeys: await registerKeys(Fastify(), ACCESS_TYPE, accessKeys),
    refreshKeys: await registerKeys(Fastify(), REFRESH_TYPE, refreshKeys),
    issuer: 'bulwark',
    audience: 'bulwark-api',
    accessTtlSeconds: 900,
    policy: POLICY,
    store,
    assertFits: () => {},
  })
}

export const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
export const hmac = (key: string | Buffer, hash = 'sha256') => (input: string): string =>
  createHmac(hash, key).update(input).digest('base64url')
export const jws =
  (hash: string | null, key: KeyObject, options: object = { dsaEncoding: 'ieee-p1363' }) => (input: string): string =>
    sign(hash, Buffer.from(input), { key, ...options }).toString('base64url')
export const headerOf = (token: string): Claims =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as Claims
export const payloadOf = (token: string): Claims =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Claims

/** One kind of token under one algorithm, and the key of it in the attacker's hands. */
export interface Workshop {
  readonly name: string
  readonly kind: 'access' | 'refresh'
  readonly alg: TokenAlgorithm
  readonly codec: TokenCodec<TokenTimes>
  readonly header: Claims
  /** The claims of a good token; null for the ones of the other kind. */
  readonly good: () => Claims
  readonly signature: (input: string) => string
  readonly pems: Pems | null
  readonly secret: string
  /** A genuine token of the other kind. */
  readonly other: () => string
  readonly forge: (header: unknown, payload: unknown, signature?: (input: string) => string) => string
}

const goodAccess = (): Claims => ({
  iss: 'bulwark', aud: 'bulwark-api', sub: 'ada', sid: createId(), roles: ['user'], tenant: 'acme', tv: 10, auth_time: NOW, amr: ['pwd'], iat: NOW, exp: NOW + 900, jti: createId(),
})
const goodRefresh = (): Claims => ({ iss: 'bulwark', aud: 'bulwark-api/refresh', sub: 'ada', sid: createId(), gen: 10, slt: createId(), jti: createId(), iat: NOW, exp: NOW + 604_800 })

export async function workshops (): Promise<readonly Workshop[]> {
  return Promise.all([
    workshop('access', 'HS256'),
    workshop('access', 'ES256'),
    workshop('access', 'EdDSA'),
    workshop('access', 'RS256'),
    workshop('refresh', 'HS256'),
  ])
}

async function workshop (kind: 'access' | 'refresh', alg: TokenAlgorithm): Promise<Workshop> {
  const secret = newSecret()
  const pems = alg === 'HS256' ? null : newPems(alg)
  const keyring = pems === null ? secretKeyring(secret) : ring({ current: { alg, key: pems.privateKey } })
  const others = secretKeyring(newSecret())
  const { access, refresh } = await (kind === 'access' ? sessionsWith(keyring, others) : sessionsWith(others, keyring))
  const claimsOf = (claims: Claims): TokenTimes & Claims => ({ ...claims, iat: NOW, exp: NOW + 900 })
  const signature = pems === null
    ? hmac(secret)
    : jws(alg === 'EdDSA' ? null : 'sha256', createPrivateKey(pems.privateKey))
  const codec: TokenCodec<TokenTimes> = kind === 'access' ? access : refresh
  const good = kind === 'access' ? goodAccess : goodRefresh
  return {
    name: `${kind} ${alg}`,
    kind,
    alg,
    codec,
    header: headerOf(codec.sign(claimsOf(good()))),
    good,
    signature,
    pems,
    secret,
    other: () => kind === 'access' ? refresh.sign(claimsOf(goodRefresh())) : access.sign(claimsOf(goodAccess())),
    forge (header, payload, by = signature) {
      const input = `${encode(header)}.${encode(payload)}`
      return `${input}.${by(input)}`
    },
  }
}

import { hkdfSync, type KeyObject } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ErrorCode, Problem, SecurityError } from '../response/errors.js'
import { kCompiled } from '../policy/pipeline.js'
import { authenticateStep, setSignedIn, signedIn, type Guard, type GuardParts } from './guards.js'
import type { Jwt, JwtCallback, JwtPayload, JwtRegistration, JwtSignOptions, JwtVerifyOptions } from './jwt-types.js'
import type { Keyring } from './keyring.js'
import type { ResolvedAuthOptions, Revocation } from './options.js'
import { baseAuthPolicy } from './policy.js'
import { verifyingText, type TokenKeys } from './token-keys.js'

/** Adds a problem when a name of the JWT decorators is taken. */
export function checkJwtNames (app: FastifyInstance, problems: Problem[]): void {
  const taken = [
    ...['jwtVerify', 'jwtDecode'].filter((name) => app.hasRequestDecorator(name)).map((name) => `request.${name}`),
    ...app.hasReplyDecorator('jwtSign') ? ['reply.jwtSign'] : [],
    ...app.hasDecorator('jwt') ? ['app.jwt'] : [],
  ]
  if (taken.length === 0) return
  problems.push({
    path: 'auth.jwtDecorators',
    message: `Another plugin has decorated ${taken.join(', ')} already.`,
    fix:
      'Remove your own registration of @fastify/jwt, which this option replaces. Or leave ' +
      'jwtDecorators out, and give yours a namespace and a decoratorName of its own.',
  })
}

type SignSettings = Pick<ResolvedAuthOptions, 'issuer' | 'audience' | 'accessTtlMs'>

/** `request.jwtVerify`, `request.jwtDecode` and `reply.jwtSign` are made under this name. */
const NAMESPACE = 'session'

/**
 * The registration of @fastify/jwt whose `request.jwtVerify` and `request.jwtDecode` read this suite's access tokens
 * and whose `reply.jwtSign` signs tokens of the app's own.
 *
 * The suite looks at a token twice: `extractToken` gives the library no token that is not ours, and `trusted` asks what
 * the route's guard would ask (time, session) and signs the request in.
 */
export function sessionRegistration (
  guards: GuardParts,
  keys: TokenKeys,
  options: SignSettings & Pick<ResolvedAuthOptions, 'refreshKeys' | 'revocation'>,
): JwtRegistration {
  const { access, readCredential, refusals: { unauthorized }, emit, now } = guards
  const authenticate = guardsByRevocation(guards)

  function genuineToken (request: FastifyRequest): string {
    const credential = readCredential(request, 'access')
    if (credential === 'missing') throw unauthorized('TOKEN_MISSING')
    if (credential !== 'ambiguous' && access.read(credential.token, Math.floor(now() / 1000)) !== null) {
      return credential.token
    }
    // An app that catches this and goes on must not find anybody signed in.
    setSignedIn(request, null)
    emit({ name: 'authn_token_invalid', kind: 'access', code: 'TOKEN_INVALID' }, request)
    throw unauthorized('TOKEN_INVALID')
  }

  async function signIn (request: FastifyRequest): Promise<boolean> {
    setSignedIn(request, null)
    const { revocation = options.revocation } = request[kCompiled]?.policy.auth ?? {}
    // Without a reply no WebSocket is watched: a route that opens one lets its policy ask for the token.
    const verdict = await authenticate[revocation](request, null)
    if (verdict instanceof Error) throw verdict
    if (signedIn(request) === null) throw unauthorized('TOKEN_MISSING')
    return true
  }

  return {
    namespace: NAMESPACE,
    jwtVerify: 'jwtVerify',
    jwtDecode: 'jwtDecode',
    jwtSign: 'jwtSign',
    // `request.user` is the user; what the token says besides is here.
    decoratorName: 'jwtPayload',
    secret: {
      private: appSecret(options.refreshKeys.current.verifyWith),
      public (request, _payload, done) {
        const key = access.keyOf(genuineToken(request))
        done(null, verifyingText((key ?? keys.current).verifyWith))
      },
    },
    sign: signOptions(options),
    verify: {
      algorithms: [...new Set(keys.all.map(({ alg }) => alg))],
      ignoreExpiration: true,
      ignoreNotBefore: true,
      extractToken: genuineToken,
    },
    trusted: signIn,
  }
}

function guardsByRevocation (guards: GuardParts): Readonly<Record<Revocation, Guard>> {
  const guardOf = (revocation: Revocation): Guard => authenticateStep(guards, baseAuthPolicy(revocation))
  return { strict: guardOf('strict'), cached: guardOf('cached'), stateless: guardOf('stateless') }
}

/**
 * `app.jwt`, for tokens of the app's own: links in mails, tickets. They have keys of their own, so none of them passes
 * a guard, and no session's token passes `app.jwt.verify`. One registration for each refresh key: they rotate together.
 */
export function appRegistrations (
  { current, verifyOnly }: Keyring,
  settings: SignSettings,
): readonly JwtRegistration[] {
  return [current, ...verifyOnly].map(({ verifyWith }, index) => ({
    namespace: `app ${index}`,
    secret: appSecret(verifyWith),
    sign: signOptions(settings),
    verify: {
      algorithms: ['HS256'],
      allowedIss: settings.issuer,
      allowedAud: appAudience(settings),
      requiredClaims: ['iss', 'aud', 'iat', 'exp'],
    },
  }))
}

/**
 * The registrations as one: the first signs, and a token is verified with each until one fits.
 * @param until of each registration, in epoch seconds
 */
export function appJwt (
  registered: readonly Jwt[],
  until: readonly number[],
  now: () => number,
  unauthorized: (code: ErrorCode) => SecurityError,
): Jwt {
  const [current] = registered as readonly [Jwt]
  function verified (token: string, options?: JwtVerifyOptions): JwtPayload {
    let refusal: unknown
    for (const [index, jwt] of registered.entries()) {
      if (now() >= (until[index] ?? Infinity) * 1000) continue
      try {
        return jwt.verify(token, options)
      } catch (error) {
        const { code } = error as { readonly code?: unknown }
        if (code === 'FAST_JWT_INVALID_OPTION') throw error
        // The library's errors have no status: a forged token would be a 500.
        if (refusal === undefined || code === 'FAST_JWT_EXPIRED') {
          refusal = unauthorized(code === 'FAST_JWT_EXPIRED' ? 'TOKEN_EXPIRED' : 'TOKEN_INVALID')
        }
      }
    }
    throw refusal
  }
  /** `(token, options?)`, or with a callback as the last argument, as @fastify/jwt has it. */
  function verify (token: string, ...rest: readonly (JwtVerifyOptions | JwtCallback | undefined)[]): unknown {
    const options = typeof rest[0] === 'function' ? undefined : rest[0]
    const callback = rest.find((one) => typeof one === 'function')
    if (callback === undefined) return verified(token, options)
    let payload: JwtPayload
    try {
      payload = verified(token, options)
    } catch (error) {
      callback(error)
      return undefined
    }
    callback(null, payload)
    return undefined
  }
  return Object.assign(Object.create(null), current, { verify }) as Jwt
}

/** What the registration for requests adds to `app.jwt` is of no use there: its keys depend on a request. */
export function hideRequestNamespace (jwt: Jwt): void {
  Reflect.deleteProperty(jwt, NAMESPACE)
}

function signOptions (settings: SignSettings): JwtSignOptions {
  const { issuer, accessTtlMs } = settings
  return { algorithm: 'HS256', iss: issuer, aud: appAudience(settings), expiresIn: accessTtlMs / 1000 }
}

function appAudience ({ audience }: SignSettings): string {
  return `${audience}/app`
}

/**
 * A key of its own, derived from a refresh key (HKDF, RFC 5869): those are always secrets, while of an asymmetric
 * access key that only verifies nothing but the public half is here.
 */
function appSecret (refreshKey: KeyObject): Buffer {
  const derived = hkdfSync('sha256', refreshKey.export(), '', 'fastify-bulwark app tokens', 32)
  return Buffer.from(Buffer.from(derived).toString('base64url'))
}

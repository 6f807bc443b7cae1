import { hkdfSync } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Problem } from '../response/errors.js'
import { kCompiled } from '../policy/pipeline.js'
import { createAppTokens, type AppTokens } from './app-tokens.js'
import type { Credential } from './credentials.js'
import { authenticateStep, kAuth, type Guard, type GuardParts } from './guards.js'
import type { JwtApi } from './jwt-types.js'
import { readDecodeOptions, readVerifyOptions, splitCallback } from './jwt-options.js'
import { secretKeyring, type Keyring } from './keyring.js'
import type { ResolvedAuthOptions, Revocation } from './options.js'
import { baseAuthPolicy, type ResolvedAuthPolicy } from './policy.js'

/** Names that @fastify/jwt takes too; both cannot have them. */
const REQUEST_NAMES = ['jwtVerify', 'jwtDecode'] as const

/** Adds a problem when a name of the JWT decorators is taken. */
export function checkJwtNames (app: FastifyInstance, problems: Problem[]): void {
  const taken = [
    ...REQUEST_NAMES.filter((name) => app.hasRequestDecorator(name)).map((name) => `request.${name}`),
    ...app.hasReplyDecorator('jwtSign') ? ['reply.jwtSign'] : [],
    ...app.hasDecorator('jwt') ? ['app.jwt'] : [],
  ]
  if (taken.length === 0) return
  problems.push({
    path: 'auth.jwtDecorators',
    message: `Another plugin has decorated ${taken.join(', ')} already.`,
    fix:
      'Remove @fastify/jwt, whose decorators these replace; or leave jwtDecorators out and keep it with a namespace and a decoratorName of its own.',
  })
}

/**
 * `request.jwtVerify`, `request.jwtDecode`, `reply.jwtSign` and `app.jwt`, for code that was written for @fastify/jwt.
 * Requests are verified as the guards verify them; what is signed here can never pass as a session's token.
 */
export function decorateJwt (app: FastifyInstance, guards: GuardParts, options: ResolvedAuthOptions): void {
  const { unauthorized } = guards.refusals
  const verifyRequest = createRequestVerifier(guards, options.revocation)
  const tokens = createAppTokens({
    keyring: appKeyring(options.refreshKeys),
    issuer: options.issuer,
    audience: `${options.audience}/app`,
    accessTtlSeconds: options.accessTtlMs / 1000,
    maxTtlSeconds: options.refreshAbsoluteMs / 1000,
    now: guards.now,
    unauthorized,
  })

  const decodeRequest = (request: FastifyRequest, written: unknown): unknown => {
    const { onlyCookie, complete } = readDecodeOptions('request.jwtDecode', written)
    const { token } = presented(guards, request, onlyCookie)
    // Its signature must be ours, whatever the time: claims that nobody signed are handed to no one.
    if (guards.access.read(token, Math.floor(guards.now() / 1000)) === null) throw unauthorized('TOKEN_INVALID')
    return tokens.decode(token, complete)
  }

  app.decorateRequest('jwtVerify', function jwtVerify (this: FastifyRequest, ...args: readonly unknown[]): unknown {
    return answer(args, async (written) => {
      const { onlyCookie } = readVerifyOptions('request.jwtVerify', written)
      return await verifyRequest(this, onlyCookie)
    })
  })
  app.decorateRequest('jwtDecode', function jwtDecode (this: FastifyRequest, ...args: readonly unknown[]): unknown {
    return answer(args, async (written) => decodeRequest(this, written))
  })
  app.decorateReply(
    'jwtSign',
    function jwtSign (this: FastifyReply, payload: unknown, ...args: readonly unknown[]): unknown {
      return answer(args, async (written) => tokens.sign(payload, written))
    },
  )
  // Frozen: @fastify/jwt would add its namespaces to whatever `app.jwt` there is, and then miss its own decorators.
  app.decorate('jwt', Object.freeze(appApi(tokens)) as unknown as JwtApi)
}

/** Verifies the access token of a request under the revocation of its route, and signs the request in. */
function createRequestVerifier (
  guards: GuardParts,
  standard: Revocation,
): (request: FastifyRequest, onlyCookie: boolean) => Promise<unknown> {
  const step = (revocation: Revocation): Guard => authenticateStep(guards, baseAuthPolicy(revocation))
  const steps = { strict: step('strict'), cached: step('cached'), stateless: step('stateless') }

  return async function verifyRequest (request, onlyCookie) {
    const policy = (request[kCompiled]?.policy as { readonly auth?: ResolvedAuthPolicy } | undefined)?.auth
    const authenticate = steps[policy?.revocation ?? standard]
    let verified = false
    try {
      const { token } = presented(guards, request, onlyCookie)
      // Without a reply no WebSocket is watched: a route that opens one lets its policy ask for the token.
      const verdict = await authenticate(request, null)
      if (verdict instanceof Error) throw verdict
      verified = true
      return payloadOf(token)
    } finally {
      // An app that catches the refusal and goes on must not find somebody signed in.
      if (!verified) request[kAuth] = null
    }
  }
}

function presented (
  { readCredential, refusals: { unauthorized } }: GuardParts,
  request: FastifyRequest,
  onlyCookie: boolean,
): Credential {
  const credential = readCredential(request, 'access')
  if (credential === 'ambiguous') throw unauthorized('TOKEN_INVALID')
  if (credential === 'missing' || (onlyCookie && credential.source !== 'cookie')) throw unauthorized('TOKEN_MISSING')
  return credential
}

/** Of a token that was verified: a fresh copy, so that nobody changes what another request sees. */
function payloadOf (token: string): unknown {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
}

/** As @fastify/jwt does it: a promise, unless the last argument is a callback. */
function answer (args: readonly unknown[], work: (options: unknown) => Promise<unknown>): unknown {
  const { options, callback } = splitCallback(args)
  const pending = work(options)
  if (callback === null) return pending
  pending.then((value) => { callback(null, value) }, callback)
  return undefined
}

function appApi (tokens: AppTokens): Record<string, (...args: unknown[]) => unknown> {
  /** Synchronous, and with a callback the errors go to it as well. */
  const answerNow = (args: readonly unknown[], work: (options: unknown) => unknown): unknown => {
    const { options, callback } = splitCallback(args)
    if (callback === null) return work(options)
    let value: unknown
    try {
      value = work(options)
    } catch (error) {
      callback(error)
      return undefined
    }
    callback(null, value)
    return undefined
  }
  return {
    sign: (payload, ...args) => answerNow(args, (options) => tokens.sign(payload, options)),
    verify: (token, ...args) => answerNow(args, (options) => tokens.verify(token, options)),
    decode: (token, options) =>
      tokens.decode(
        token,
        readDecodeOptions('app.jwt.decode', options === undefined ? undefined : { decode: options }).complete,
      ),
  }
}

/**
 * Keys of their own, derived from the refresh keys (HKDF, RFC 5869): those are always secrets, while of an asymmetric
 * access key that only verifies nothing but the public half is here. They rotate together.
 */
function appKeyring ({ current, verifyOnly }: Keyring): Keyring {
  const derived = (secret: Buffer): Keyring['current'] =>
    secretKeyring(Buffer.from(hkdfSync('sha256', secret, '', 'fastify-bulwark app tokens', 32)).toString('base64url'))
      .current
  return Object.freeze({
    current: derived(current.verifyWith.export()),
    verifyOnly: verifyOnly.map(({ verifyWith, until }) => {
      const { kid, alg, verifyWith: key } = derived(verifyWith.export())
      return Object.freeze({ kid, alg, verifyWith: key, until })
    }),
  })
}

/**
 * Cookies by @fastify/cookie: `request.cookies`, `reply.setCookie`, `reply.clearCookie`, and through it the cookies of
 * sessions. Secrets that sign cookies are judged like every other secret. A registration that the app has made before
 * stays, and options beside it are refused.
 */
import { getHashes } from 'node:crypto'
import fastifyCookie, { type FastifyCookieOptions } from '@fastify/cookie'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { SECRET_FIX, SECRET_MIN_BYTES, secretProblems } from '../lib/options/secret-strength.js'
import { defineSecurityPlugin, type ResolveContext } from '../lib/policy/plugin.js'
import { assertNoProblems } from '../lib/response/errors.js'

type Hook = 'onRequest' | 'preParsing' | 'preValidation' | 'preHandler' | false
const HOOKS: readonly Hook[] = ['onRequest', 'preParsing', 'preValidation', 'preHandler', false]

export const CookiesOptionsSchema = Type.Object({
  secret: Type.Optional(
    Type.Unknown({
      description:
        'Signs cookies: a text or Buffer, a list of them to rotate (the first signs), ' +
        `or { sign, unsign }. ${SECRET_FIX}`,
    }),
  ),
  algorithm: Type.Optional(
    Type.String({ description: 'The hash that signs cookies, as node:crypto names it; default sha256.' }),
  ),
  hook: Type.Optional(
    Type.Unsafe<Hook>(
      Type.Union(HOOKS.map((name) => Type.Literal(name)), {
        description:
          'When request.cookies is filled: onRequest (default), preParsing, ' +
          'preValidation or preHandler; false: not at all.',
      }),
    ),
  ),
  parseOptions: Type.Optional(
    Type.Unsafe<NonNullable<FastifyCookieOptions['parseOptions']>>(
      Type.Object({}, { description: "Default attributes of reply.setCookie. A session's cookies have their own." }),
    ),
  ),
}, { additionalProperties: false })

/** Options of @fastify/cookie. */
export interface CookiesOptions {
  secret?: NonNullable<FastifyCookieOptions['secret']>
  algorithm?: string
  hook?: Hook
  parseOptions?: NonNullable<FastifyCookieOptions['parseOptions']>
}

/** Checked options; they are handed on as they were given. */
export type ResolvedCookiesPolicy = Readonly<CookiesOptions>

function resolveCookies (input: CookiesOptions, { where, problems }: ResolveContext): ResolvedCookiesPolicy {
  const { secret, algorithm } = input
  if (algorithm !== undefined && !getHashes().includes(algorithm)) {
    problems.push({
      path: `${where}.algorithm`,
      message: 'node:crypto does not know this hash.',
      fix: 'Leave it out: the default is sha256.',
    })
  }
  if (secret !== undefined && !isSigner(secret)) {
    const secrets: readonly unknown[] = Array.isArray(secret) ? secret : [secret]
    if (secrets.length === 0) problems.push({ path: `${where}.secret`, message: 'An empty list.', fix: SECRET_FIX })
    for (const [index, one] of secrets.entries()) {
      const path = Array.isArray(secret) ? `${where}.secret[${index}]` : `${where}.secret`
      for (const message of reasonsAgainst(one)) problems.push({ path, message, fix: SECRET_FIX })
    }
  }
  return Object.freeze({ ...input })
}

/** A signer of the app's own: what it signs with is not ours to judge. */
function isSigner (secret: unknown): boolean {
  if (typeof secret !== 'object' || secret === null) return false
  const { sign, unsign } = secret as { readonly sign?: unknown, readonly unsign?: unknown }
  return typeof sign === 'function' && typeof unsign === 'function'
}

function reasonsAgainst (secret: unknown): readonly string[] {
  if (typeof secret === 'string') return secretProblems(secret)
  if (!Buffer.isBuffer(secret)) return ['Neither a text nor a Buffer nor { sign, unsign }.']
  if (secret.length < SECRET_MIN_BYTES) return [`It is shorter than ${SECRET_MIN_BYTES} bytes.`]
  return secretProblems(secret.toString('latin1'))
}

async function installCookies (app: FastifyInstance, policy: ResolvedCookiesPolicy): Promise<void> {
  if (!app.hasReplyDecorator('setCookie')) {
    await app.register(fastifyCookie, policy)
    return
  }
  if (Object.keys(policy).length === 0) return
  assertNoProblems([{
    path: 'cookies',
    message: 'The app has registered @fastify/cookie before, so these options would have no effect.',
    fix: 'Remove one of the two: your own registration, or the options of `cookies`.',
  }])
}

export const cookies = defineSecurityPlugin<typeof CookiesOptionsSchema, ResolvedCookiesPolicy, CookiesOptions>({
  key: 'cookies',
  options: CookiesOptionsSchema,
  resolve: resolveCookies,
  install: installCookies,
})
export default cookies

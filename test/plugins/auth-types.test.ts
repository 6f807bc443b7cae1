import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import type { SecurityTypeProvider } from '../../lib/policy/types.js'
import { auth, publicRoute, type AuthContext, type AuthOptions, type AuthUser, type SecurityUser } from '../../plugins/auth.js'
import { secret } from '../lib/auth/support.js'

interface Shape { roles: 'user' | 'admin', policies: string, env: unknown, claims: { tenant: string } }
type Same<A, B> = [A] extends [B] ? [B] extends [A] ? true : false : false
/** Compiles only when every member is true. */
type All<T extends readonly true[]> = T

test('roles and claims are checked by the compiler, per instance', async (t) => {
  const Claims = Type.Object({ tenant: Type.String() })
  const options: AuthOptions<'user' | 'admin', typeof Claims> = {
    roles: ['user', 'admin'],
    claims: Claims,
    redis: false,
    accessSecret: secret(),
    refreshSecret: secret(),
    authenticate: async ({ email }, request) => ({ id: email, roles: ['user'], tenant: request.ip }),
    loadUser: async (id) => ({ id, roles: ['admin'], tenant: 'acme' }),
  }
  const checks: All<[Same<AuthUser<'user', typeof Claims>['roles'], readonly 'user'[]>, Same<AuthUser<'user', typeof Claims>['tenant'], string>]> = [true, true]
  t.same(checks, [true, true])
  // @ts-expect-error an unknown role
  const wrong: AuthOptions<'user' | 'admin', typeof Claims>['loadUser'] = async () => ({ id: 'x', roles: ['root'], tenant: '' })
  t.type(wrong, 'function')

  const app = Fastify().withTypeProvider<SecurityTypeProvider<Shape>>()
  t.teardown(() => app.close())
  await app.register(auth, options)
  app.get('/x', { security: { auth: { roles: ['admin'] } } }, async (request, reply) => {
    const typed: All<[
      Same<typeof request.user, SecurityUser<Shape>>,
      Same<typeof request.user.tenant, string>,
      Same<NonNullable<typeof request.auth>, AuthContext<Shape>>,
      Same<NonNullable<typeof request.auth>['roles'], readonly ('user' | 'admin')[]>,
    ]> = [true, true, true, true]
    if (request.headers.host === undefined) await reply.login({ id: 'x', roles: ['user'], tenant: 'acme' })
    // @ts-expect-error a claim is missing
    if (request.headers.host === undefined) await reply.login({ id: 'x', roles: ['user'] })
    // @ts-expect-error unknown role
    if (request.headers.host === undefined) await reply.login({ id: 'x', roles: ['root'], tenant: 'acme' })
    return [typed, request.user.roles]
  })
  app.get('/open', { security: { auth: publicRoute('test') } }, async () => 'open')
  const refused = (): void => {
    // @ts-expect-error unknown role
    app.get('/a', { security: { auth: { roles: ['root'] } } }, async () => 1)
    // @ts-expect-error false opens nothing
    app.get('/b', { security: { auth: false } }, async () => 1)
    // @ts-expect-error a look-alike is no public route
    app.get('/c', { security: { auth: { why: 'x' } } }, async () => 1)
    // @ts-expect-error not a mode
    app.get('/d', { security: { auth: { revocation: 'lazy' } } }, async () => 1)
    // @ts-expect-error not a duration
    app.get('/e', { security: { auth: { fresh: 300 } } }, async () => 1)
  }
  t.type(refused, 'function')

  const plain = app as unknown as FastifyInstance
  plain.get('/plain', { security: { auth: { roles: ['user'] } } }, async (request) => {
    const typed: All<[Same<typeof request.user.roles, readonly string[]>]> = [true]
    return [typed, request.user['tenant']]
  })
  await app.ready()
  t.equal((await app.inject('/open')).body, 'open')
  t.equal((await app.inject('/x')).statusCode, 401)
})

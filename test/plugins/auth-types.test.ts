import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import { defineSecurity, type ShapeOfDefinition } from '../../definition.js'
import type { ScopeOf, SecurityTypeProvider } from '../../lib/policy/types.js'
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
    // @ts-expect-error no such mode
    app.get('/d', { security: { auth: { revocation: 'sometimes' } } }, async () => 1)
    // @ts-expect-error this vocabulary has no scopes
    app.get('/f', { security: { auth: { scopes: ['read'] } } }, async () => 1)
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

interface ScopedShape extends Shape { scopes: 'read' | 'write' }

test('scope names are checked like role names, and request.user has them where they are declared', async (t) => {
  const security = defineSecurity({
    auth: {
      roles: ['user', 'admin'],
      scopes: ['read', 'write'],
      claims: Type.Object({ tenant: Type.String() }),
      loadUser: async (id) => id === '' ? null : { id, roles: ['user'], scopes: ['read'], tenant: 'acme' },
      authenticate: async ({ email }) => ({ id: email, roles: ['admin'], tenant: 'acme' }),
    },
    defaults: { auth: { scopes: ['read'] } },
  })
  const plain = defineSecurity({ auth: { roles: ['user'], loadUser: async (id) => ({ id, roles: ['user'] }) } })
  const checks: All<[
    Same<ScopeOf<ShapeOfDefinition<typeof security>>, 'read' | 'write'>,
    Same<ShapeOfDefinition<typeof security>['roles'], 'user' | 'admin'>,
    Same<ScopeOf<ShapeOfDefinition<typeof plain>>, never>,
    Same<SecurityUser<ScopedShape>['scopes'], readonly ('read' | 'write')[]>,
    Same<'scopes' extends keyof SecurityUser<Shape> ? true : false, false>,
    Same<AuthContext<Shape>['scopes'], readonly never[]>,
    Same<AuthContext['scopes'], readonly string[]>,
    Same<SecurityUser['scopes'], readonly string[] | undefined>,
  ]> = [true, true, true, true, true, true, true, true]
  t.equal(checks.length, 8)
  t.ok(Object.isFrozen(security) && Object.isFrozen(plain))
  const refused = (): void => {
    // @ts-expect-error a user with an unknown scope
    defineSecurity({ auth: { roles: ['user'], scopes: ['read'], loadUser: async (id) => ({ id, roles: ['user'], scopes: ['root'] }) } })
    // @ts-expect-error an unknown scope in the defaults
    defineSecurity({ auth: { roles: ['user'], scopes: ['read'], loadUser: async () => null }, defaults: { auth: { scopes: ['raed'] } } })
    // @ts-expect-error a user with scopes where none are declared
    defineSecurity({ auth: { roles: ['user'], loadUser: async (id) => ({ id, roles: ['user'], scopes: ['read'] }) } })
  }
  t.type(refused, 'function')

  const app = Fastify().withTypeProvider<SecurityTypeProvider<ScopedShape>>()
  t.teardown(() => app.close())
  await app.register(auth, { roles: ['user', 'admin'], scopes: ['read', 'write'], redis: false, accessSecret: secret(), refreshSecret: secret(), loadUser: async () => null })
  app.get('/x', { security: { auth: { roles: ['admin'], scopes: ['read', 'write'] } } }, async (request, reply) => {
    await reply.login({ id: 'x', roles: ['user'], tenant: 'acme' })
    await reply.login({ id: 'x', roles: ['user'], tenant: 'acme', scopes: ['read'] })
    // @ts-expect-error an unknown scope
    await reply.login({ id: 'x', roles: ['user'], tenant: 'acme', scopes: ['root'] })
    const typed: All<[Same<typeof request.user.scopes, readonly ('read' | 'write')[]>]> = [true]
    return typed
  })
  const wrong = (): void => {
    // @ts-expect-error an unknown scope
    app.get('/a', { security: { auth: { scopes: ['root'] } } }, async () => 1)
    // @ts-expect-error not a list
    app.get('/b', { security: { auth: { scopes: 'read' } } }, async () => 1)
  }
  t.type(wrong, 'function')
  await app.ready()
  t.equal((await app.inject('/x')).statusCode, 401)
})

import { Type } from '@sinclair/typebox'
import { test } from 'tap'
import { createUserModel } from '../../../lib/auth/users.js'

const model = createUserModel(
  ['user', 'admin'],
  Type.Object({ tenant: Type.String(), since: Type.Optional(Type.String()), quota: Type.Optional(Type.Number()) }),
)

test('only the id, the roles and the declared claims leave the app', async (t) => {
  const row = {
    id: 'ada',
    roles: ['user', 'user'],
    tenant: 'acme',
    since: undefined,
    passwordHash: 'x',
    toString: () => 'y',
  }
  const user = model.fromApp(row, 'loadUser')
  t.same({ ...user }, { id: 'ada', roles: ['user'], tenant: 'acme' })
  t.ok(Object.isFrozen(user) && Object.isFrozen(user.roles))
  t.notOk(Object.isFrozen(row.roles), 'the app\'s own objects are left alone')
})

test('a user that does not fit is an error that shows no value', async (t) => {
  const table: [unknown, RegExp][] = [
    [undefined, /no user object/],
    ['ada', /no user object/],
    [{ roles: [], tenant: 'a' }, /id is not a text/],
    [{ id: '', roles: [], tenant: 'a' }, /id is not a text/],
    [{ id: 7, roles: [], tenant: 'a' }, /id is not a text/],
    [{ id: 'x'.repeat(256), roles: [], tenant: 'a' }, /id is not a text/],
    [{ id: 'ada', tenant: 'a' }, /roles are not a list/],
    [{ id: 'ada', roles: 'admin', tenant: 'a' }, /roles are not a list/],
    [{ id: 'ada', roles: ['hunter2'], tenant: 'a' }, /roles are not a list/],
    [{ id: 'ada', roles: [] }, /claims do not fit their schema, at \/tenant/],
    [{ id: 'ada', roles: [], tenant: 7 }, /claims do not fit their schema, at \/tenant/],
    [{ id: 'ada', roles: [], tenant: 'a', quota: NaN }, /claims do not fit their schema, at \/quota/],
    [{ id: 'ada', roles: [], tenant: 'a', since: new Map() }, /claims do not fit their schema, at \/since/],
    [Object.assign(Object.create({ tenant: 'inherited' }) as object, { id: 'ada', roles: [] }), /claims do not fit/],
  ]
  for (const [user, message] of table) {
    t.throws(() => model.fromApp(user, 'authenticate'), { message })
    t.throws(() => model.fromApp(user, 'authenticate'), { message: /^auth: authenticate gave (?!.*hunter2)/ })
  }
  t.equal(
    model.fromApp({ id: 'ada', roles: [], tenant: 'a', since: new Date(0) }, 'x')['since'],
    '1970-01-01T00:00:00.000Z',
    'a claim is what its JSON says',
  )
})

const scoped = createUserModel(['user'], null, ['read', 'write', 'a:b'])

test('a user has the scopes that the app gave, or none', async (t) => {
  const user = scoped.fromApp({ id: 'ada', roles: ['user'], scopes: ['write', 'read', 'write'] }, 'x')
  t.same({ ...user }, { id: 'ada', roles: ['user'], scopes: ['write', 'read'] })
  t.ok(Object.isFrozen(user.scopes))
  t.same({ ...scoped.fromApp({ id: 'ada', roles: [] }, 'x') }, { id: 'ada', roles: [], scopes: [] })
  t.same({ ...scoped.fromApp({ id: 'ada', roles: [], scopes: undefined }, 'x') }, { id: 'ada', roles: [], scopes: [] })
  t.notOk(
    'scopes' in model.fromApp({ id: 'ada', roles: [], tenant: 'a', scopes: [] }, 'x'),
    'a service without scopes shows none',
  )
  for (const scopes of [null, 'read', {}, [7], ['read', null]]) {
    t.throws(() => scoped.fromApp({ id: 'ada', roles: [], scopes }, 'loadUser'), {
      message: 'auth: loadUser gave a user whose scopes are not a list of the declared ones',
    })
  }
  t.throws(() => scoped.fromApp({ id: 'ada', roles: [], scopes: ['read', 'root'] }, 'loadUser'), {
    message: 'auth: loadUser gave a user whose scopes have one that is not declared: "root"',
  })
  t.throws(() => model.fromApp({ id: 'ada', roles: [], tenant: 'a', scopes: ['read'] }, 'loadUser'), {
    message: /not declared/,
  })
})

test('scopes go through a token as one text with one space between them', async (t) => {
  const user = scoped.fromApp({ id: 'ada', roles: ['user'], scopes: ['read', 'a:b'] }, 'x')
  t.same(scoped.toClaims(user), { roles: ['user'], scope: 'read a:b' })
  t.same({ ...scoped.fromClaims({ sub: 'ada', ...scoped.toClaims(user) }) }, { ...user })
  t.same(scoped.toClaims(scoped.fromApp({ id: 'ada', roles: ['user'] }, 'x')), { roles: ['user'] })
  t.same(
    { ...scoped.fromClaims({ sub: 'ada', roles: [] }) },
    { id: 'ada', roles: [], scopes: [] },
    'a token from before there were scopes',
  )
  t.notOk(
    'scopes' in (model.fromClaims({ sub: 'ada', roles: [], tenant: 'a', scope: 'read' }) ?? {}),
    'a token from before they were given up',
  )
  for (
    const scope of [
      '',
      ' ',
      'read ',
      ' read',
      'read  write',
      'read read',
      'root',
      'READ',
      7,
      null,
      ['read'],
      { read: true },
      'toString',
      '__proto__',
    ]
  ) t.equal(scoped.fromClaims({ sub: 'ada', roles: [], scope }), null, JSON.stringify(scope))
})

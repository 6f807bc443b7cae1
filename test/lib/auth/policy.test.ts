import { test } from 'tap'
import { baseAuthPolicy, resolveAuthPolicy, type KnownNames,
  type ResolvedAuthPolicy } from '../../../lib/auth/policy.js'
import { PublicRoute, publicRoute } from '../../../lib/policy/public-route.js'
import { BulwarkConfigError, type Problem } from '../../../lib/response/errors.js'

const NAMES = { roles: new Set(['user', 'admin']), scopes: new Set(['read', 'write']) }
const BASE = baseAuthPolicy('strict')

function resolve (
  input: unknown,
  base: ResolvedAuthPolicy = BASE,
  names: KnownNames = NAMES,
): { policy: ResolvedAuthPolicy, problems: string[], fixes: string[] } {
  const problems: Problem[] = []
  const policy = resolveAuthPolicy(names, base, input, 'GET /x security.auth', problems)
  return {
    policy,
    problems: problems.map(({ path, message }) => `${path}: ${message}`),
    fixes: problems.map(({ fix }) => fix),
  }
}

test('a public route says why', async (t) => {
  const route = publicRoute('uptime probe')
  t.equal(route.why, 'uptime probe')
  t.ok(Object.isFrozen(route))
  for (const why of ['', '  ']) t.throws(() => publicRoute(why), BulwarkConfigError)
  for (const why of [undefined, null, 1, {}]) t.throws(() => publicRoute(why as string), { code: 'BULWARK_CONFIG' })
  t.match(resolve(route).policy, { access: 'public', why: 'uptime probe', roles: [] })
  for (const fake of [{ why: 'x' }, Object.create(PublicRoute.prototype), Object.assign({}, route)]) {
    t.ok(resolve(fake).problems.length > 0 || resolve(fake).policy.access === 'required', 'a look-alike opens nothing')
  }
})

test('words replace who may call and keep the revocation; objects replace what they name', async (t) => {
  t.match(resolve('required').policy, BASE)
  t.match(resolve('optional').policy, { access: 'optional', roles: [], freshSeconds: null })
  const admin = resolve({ roles: ['admin'], fresh: '5m', revocation: 'stateless' }).policy
  t.match(admin, { access: 'required', roles: ['admin'], freshSeconds: 300, revocation: 'stateless' })
  t.ok(Object.isFrozen(admin) && Object.isFrozen(admin.roles))
  t.match(resolve({ fresh: '1m' }, admin).policy, { roles: ['admin'], freshSeconds: 60, revocation: 'stateless' })
  t.match(resolve({ roles: ['user', 'admin'], fresh: undefined }, admin).policy, {
    roles: ['user', 'admin'],
    freshSeconds: 300,
  })
  t.match(resolve('required', admin).policy, { roles: [], freshSeconds: null, revocation: 'stateless' })
  t.match(
    resolve({}, resolve(publicRoute('x')).policy).policy,
    { access: 'required', why: null },
    'an object always means a signed-in user',
  )
  t.match(resolve({ revocation: 'strict' }, resolve('optional').policy).policy, { access: 'required' })
})

test('what is no policy is a problem that names the route', async (t) => {
  for (
    const input of [
      false,
      true,
      null,
      'public',
      'none',
      1,
      [],
      ['admin'],
      { role: 'admin' },
      { roles: 'admin' },
      { roles: [1] },
      { fresh: 5 },
      { fresh: 'soon' },
      { revocation: 'sometimes' },
      { scopes: 'read' },
      { scope: 'read' },
      { scopes: [] },
      { scopes: [7] },
    ]
  ) {
    t.match(resolve(input).problems, [/^GET \/x security\.auth/], JSON.stringify(input))
    t.match(resolve(input).policy, BASE, 'and the base stays')
  }
  for (const fresh of ['500ms', '1500ms']) {
    t.same(resolve({ fresh }).problems, ['GET /x security.auth.fresh: Not whole seconds.'], fresh)
  }
  t.match(resolve(false).fixes, [/publicRoute\('why'\)/])
  t.match(resolve({ roles: [] }).fixes, [/at least one role/])
  t.same(resolve({ roles: ['admn'] }), {
    policy: resolve({ roles: ['admn'] }).policy,
    problems: ['GET /x security.auth.roles: Unknown role "admn".'],
    fixes: ['Did you mean "admin"?'],
  })
  t.match(resolve({ roles: ['superintendent'] }).fixes, ['Known roles: user, admin.'])
})

test('scopes are replaced as roles are, and unknown ones are problems', async (t) => {
  t.same(BASE.scopes, [])
  const policy = resolve({ roles: ['user'], scopes: ['read', 'write'] }).policy
  t.match(policy, { access: 'required', roles: ['user'], scopes: ['read', 'write'] })
  t.ok(Object.isFrozen(policy.scopes))
  t.match(resolve({ fresh: '1m' }, policy).policy, { roles: ['user'], scopes: ['read', 'write'] })
  t.match(resolve({ scopes: ['read'] }, policy).policy, { roles: ['user'], scopes: ['read'] })
  t.match(resolve({ scopes: undefined }, policy).policy, { scopes: ['read', 'write'] })
  for (const word of ['required', 'optional', publicRoute('x')]) t.same(resolve(word, policy).policy.scopes, [])
  t.match(resolve({ scopes: ['raed'] }), {
    problems: ['GET /x security.auth.scopes: Unknown scope "raed".'],
    fixes: ['Did you mean "read"?'],
  })
  t.match(resolve({ scopes: ['administer-everything'] }), { fixes: ['Known scopes: read, write.'] })
  t.match(resolve({ scopes: ['read'] }, BASE, { ...NAMES, scopes: new Set() }), {
    problems: ['GET /x security.auth.scopes: Unknown scope "read".'],
    fixes: ['Declare it in auth.scopes.'],
  })
})

import root, { test } from 'tap'
import { createUsers } from '../../example-server/repositories/users.js'
import { codeOf, member, PASSWORD, sharedDatabase, SLOW, startApp, Visitor } from './helpers.js'

root.setTimeout(SLOW.timeout)

test('accounts', SLOW, async (t) => {
  const database = await sharedDatabase(t)
  const app = await startApp(t, database)
  const users = createUsers(database)

  await t.test('a registration answers 201 with the account and nothing of the password', async (t) => {
    const res = await new Visitor(app).send('POST', '/auth/register', {
      body: { email: 'Ada@Example.COM', password: PASSWORD, fullName: ' Ada King-Noel ' },
    })
    t.equal(res.statusCode, 201, res.body)
    const account = res.json<Record<string, string>>()
    t.same(Object.keys(account).sort(), ['email', 'fullName', 'id'])
    t.match(account, { email: 'ada@example.com', fullName: 'Ada King-Noel', id: /^[0-9a-f-]{36}$/ })
    t.notOk(res.headers['set-cookie'], 'nobody is signed in by registering')
  })

  await t.test('a taken address is a 409 that says nothing of the database', async (t) => {
    const res = await new Visitor(app).register('ADA@example.com')
    t.equal(res.statusCode, 409)
    t.match(res.json(), { code: 'CONFLICT', status: 409 })
    t.notMatch(res.body, /users|duplicate|key|ada@/i)
  })

  await t.test('a registration that breaks a rule is refused with the field and without the value', async (t) => {
    const valid = { email: 'grace@example.com', password: PASSWORD, fullName: 'Grace Hopper' }
    const cases: readonly (readonly [string, Record<string, unknown>, string])[] = [
      ['no address', { ...valid, email: 'grace' }, 'body.email'],
      ['no domain with a dot', { ...valid, email: 'grace@example' }, 'body.email'],
      ['an address of 255 characters', { ...valid, email: `${'g'.repeat(243)}@example.com` }, 'body.email'],
      ['a NUL in the address', { ...valid, email: 'grace\0@example.com' }, 'body.email'],
      ['a line break after the address', { ...valid, email: 'grace@example.com\n' }, 'body.email'],
      ['a short password', { ...valid, password: 'Ab1!Ab1!Ab1' }, 'body.password'],
      ['a password of 129 characters', { ...valid, password: `Ab1!${'x'.repeat(125)}` }, 'body.password'],
      ['a password without a lower-case letter', { ...valid, password: 'CORRECT-HORSE-9' }, 'body.password'],
      ['a password without an upper-case letter', { ...valid, password: 'correct-horse-9' }, 'body.password'],
      ['a password without a digit', { ...valid, password: 'Correct-horse-x' }, 'body.password'],
      ['a password without a special character', { ...valid, password: 'CorrectHorse9999' }, 'body.password'],
      ['a NUL in the password', { ...valid, password: `${PASSWORD}\0` }, 'body.password'],
      ['a name of one letter', { ...valid, fullName: ' G ' }, 'body.fullName'],
      ['a name of 101 letters', { ...valid, fullName: 'G'.repeat(101) }, 'body.fullName'],
      ['a digit in the name', { ...valid, fullName: 'Grace 2' }, 'body.fullName'],
      ['markup in the name', { ...valid, fullName: '<b>Grace</b>' }, 'body.fullName'],
      ['a NUL in the name', { ...valid, fullName: 'Grace\0Hopper' }, 'body.fullName'],
      ['a role in the body', { ...valid, roles: ['admin'] }, 'body.roles'],
      ['an administrator\'s flag in the body', { ...valid, isAdmin: true }, 'body.isAdmin'],
      ['a number as the name', { ...valid, fullName: 7 }, 'body.fullName'],
      ['no password', { email: valid.email, fullName: valid.fullName }, 'body.password'],
    ]
    for (const [name, body, path] of cases) {
      const res = await new Visitor(app).send('POST', '/auth/register', { body })
      t.equal(res.statusCode, 400, name)
      t.match(res.json(), { code: 'VALIDATION_FAILED', errors: [{ path }] }, name)
      t.notMatch(res.body, /Correct-horse|grace/i, name)
    }
    t.equal(await users.findByEmail('grace@example.com'), null)
  })

  await t.test('names and passwords of any script are welcome', async (t) => {
    for (
      const [index, fullName] of ['Søren Ångström', "O'Neil", '李 小龙', 'Анна-Мария', 'Martin L. King Jr.'].entries()
    ) {
      const visitor = new Visitor(app)
      const password = 'Пароль-длинный-9'
      const res = await visitor.send('POST', '/auth/register', {
        body: { email: `name${index}@example.com`, password, fullName },
      })
      t.equal(res.statusCode, 201, fullName)
      t.equal((await visitor.login(`name${index}@example.com`, password)).statusCode, 200)
    }
  })

  await t.test('a sign-in sets both cookies, and the account can be read with them', async (t) => {
    const visitor = new Visitor(app)
    const res = await visitor.login('Ada@example.com')
    t.equal(res.statusCode, 200, res.body)
    t.match(res.json(), { user: { id: String, roles: ['user'] } })
    t.same(visitor.jar.names, ['access', 'refresh'])
    for (const cookie of [res.headers['set-cookie'] ?? []].flat()) t.match(cookie, /; HttpOnly;.*SameSite=Strict/)
    const me = await visitor.send('GET', '/me')
    t.match(me.json(), { email: 'ada@example.com', fullName: 'Ada King-Noel' })
    t.match(me.headers['cache-control'], /no-store/)
  })

  await t.test('no personal data travels in a token', async (t) => {
    const visitor = new Visitor(app)
    await visitor.login('ada@example.com')
    for (
      const token of (visitor.jar.header('/auth') ?? '').split('; ').map((pair) => pair.slice(pair.indexOf('=') + 1))
    ) {
      t.notMatch(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(), /ada@|@example|King-Noel/i)
    }
  })

  await t.test('a wrong password and an unknown user get one and the same answer', async (t) => {
    const bodies = [
      ['ada@example.com', 'Wrong-horse-9999'],
      ['nobody@example.com', PASSWORD],
      ['\'or\'1\'=\'1\'--@example.com', PASSWORD],
    ] as const
    for (const [email, password] of bodies) {
      const res = await new Visitor(app).login(email, password)
      t.equal(res.statusCode, 401, email)
      t.equal(codeOf(res), 'CREDENTIALS_INVALID', email)
    }
  })

  await t.test('the sixth wrong password from one address is a 429, whatever its spelling', async (t) => {
    const visitor = new Visitor(app)
    const spellings = [['ada@example.com', 401], ['ADA@example.com', 401], ['Ada@Example.com', 401], [
      ' ada@example.com',
      400,
    ], ['ada@example.com ', 400]] as const
    for (const [email, status] of spellings) {
      t.equal((await visitor.login(email, 'Wrong-horse-9999')).statusCode, status, email)
    }
    const res = await visitor.login('ada@example.com')
    t.equal(res.statusCode, 429, 'also the right password now')
    t.ok(Number(res.headers['retry-after']) > 0)
    t.equal(
      (await new Visitor(app).login('ada@example.com')).statusCode,
      200,
      'the owner, from elsewhere, still signs in',
    )
  })

  await t.test('eleven registrations from one address are one too many', async (t) => {
    const visitor = new Visitor(app)
    for (let i = 0; i < 10; i++) t.equal((await visitor.send('POST', '/auth/register', { body: {} })).statusCode, 400)
    t.equal((await visitor.register('late@example.com')).statusCode, 429)
  })

  await t.test('a refresh goes on, a logout ends, and what was presented is worth nothing afterwards', async (t) => {
    const visitor = await member(app, 'katherine@example.com')
    t.equal((await visitor.send('POST', '/auth/refresh')).statusCode, 200)
    t.equal((await visitor.send('GET', '/me')).statusCode, 200)
    const thief = new Visitor(app, { jar: visitor.jar.copy() })
    t.equal((await visitor.send('POST', '/auth/logout')).statusCode, 204)
    t.same(visitor.jar.names, [])
    t.equal((await visitor.send('GET', '/me')).statusCode, 401)
    t.equal(codeOf(await thief.send('GET', '/me')), 'SESSION_REVOKED')
    t.equal((await thief.send('POST', '/auth/refresh')).statusCode, 401)
  })

  await t.test('a page of another origin cannot use the cookies', async (t) => {
    const visitor = await member(app, 'dorothy@example.com')
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
      const res = await visitor.send('POST', '/projects', { body: { name: 'forged' }, headers })
      t.equal(res.statusCode, 403)
      t.equal(codeOf(res), 'CSRF_REJECTED')
    }
  })

  await t.test('another user is an id and a name, for those who are signed in', async (t) => {
    const ada = (await users.findByEmail('ada@example.com'))?.user
    const visitor = await member(app, 'mary@example.com')
    t.same((await visitor.send('GET', `/users/${ada?.id ?? ''}`)).json(), { id: ada?.id, fullName: 'Ada King-Noel' })
    t.equal((await visitor.send('GET', '/users/00000000-0000-4000-8000-000000000000')).statusCode, 404)
    for (
      const id of ['1', 'me', 'urn:uuid:00000000-0000-4000-8000-000000000000', '00000000-0000-4000-8000-00000000000%00']
    ) {
      t.equal((await visitor.send('GET', `/users/${id}`)).statusCode, 400, id)
    }
    t.equal((await new Visitor(app).send('GET', `/users/${ada?.id ?? ''}`)).statusCode, 401)
  })

  await t.test('only an administrator lists users; the role comes with the next refresh and goes with it', async (t) => {
    const visitor = await member(app, 'margaret@example.com')
    t.equal((await new Visitor(app).send('GET', '/admin/users')).statusCode, 401)
    const refused = await visitor.send('GET', '/admin/users')
    t.equal(refused.statusCode, 403)
    t.equal(codeOf(refused), 'INSUFFICIENT_ROLE')

    await users.makeAdmin('margaret@example.com')
    await visitor.send('POST', '/auth/refresh')
    const listed = await visitor.send('GET', '/admin/users?limit=1')
    t.equal(listed.statusCode, 200)
    t.match(listed.json(), [{ email: 'margaret@example.com', roles: ['user', 'admin'], createdAt: /^\d{4}-/ }])
    t.notMatch(listed.body, /argon2/)

    await database.query('update users set roles = \'{user}\' where email = $1', ['margaret@example.com'])
    await visitor.send('POST', '/auth/refresh')
    t.equal((await visitor.send('GET', '/admin/users')).statusCode, 403)
  })

  await t.test('a user who is deleted is signed out at the next refresh', async (t) => {
    const visitor = await member(app, 'gone@example.com')
    await database.query('delete from users where email = $1', ['gone@example.com'])
    t.equal((await visitor.send('GET', '/me')).statusCode, 401)
    t.equal(codeOf(await visitor.send('POST', '/auth/refresh')), 'SESSION_REVOKED')
  })
})

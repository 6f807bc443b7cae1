import { SecurityError } from 'fastify-bulwark'
import root, { test } from 'tap'
import { codeOf, member, sharedDatabase, SLOW, startApp, Visitor } from './helpers.js'

root.setTimeout(SLOW.timeout)

interface ProjectBody { readonly id: string, readonly name: string, readonly status: string }

test('projects', SLOW, async (t) => {
  const database = await sharedDatabase(t)
  const app = await startApp(t, database)
  const ada = await member(app, 'ada@example.com')
  const eve = await member(app, 'eve@example.com')

  await t.test('a project is created, read, changed and deleted by its owner', async (t) => {
    const created = await ada.send('POST', '/projects', { body: { name: 'Engine', description: 'Line one\nLine two' } })
    t.equal(created.statusCode, 201, created.body)
    const { id } = created.json<ProjectBody>()
    t.match(created.json(), {
      name: 'Engine',
      description: 'Line one\nLine two',
      status: 'active',
      createdAt: /Z$/,
      updatedAt: /Z$/,
    })
    t.same((await ada.send('GET', `/projects/${id}`)).json(), created.json())
    t.match((await ada.send('PATCH', `/projects/${id}`, { body: { status: 'done', description: null } })).json(), {
      name: 'Engine',
      description: null,
      status: 'done',
    })
    const removed = await ada.send('DELETE', `/projects/${id}`)
    t.equal(removed.statusCode, 204)
    t.equal(removed.body, '')
    t.equal((await ada.send('GET', `/projects/${id}`)).statusCode, 404)
    t.equal((await ada.send('DELETE', `/projects/${id}`)).statusCode, 404)
  })

  await t.test('somebody else\'s project is as absent as one that never was', async (t) => {
    const { id } = (await ada.send('POST', '/projects', { body: { name: 'Private' } })).json<ProjectBody>()
    const never = '00000000-0000-4000-8000-000000000000'
    for (const method of ['GET', 'PATCH', 'DELETE'] as const) {
      const body = method === 'PATCH' ? { body: { name: 'Mine' } } : {}
      const [theirs, none] = [
        await eve.send(method, `/projects/${id}`, body),
        await eve.send(method, `/projects/${never}`, body),
      ]
      t.equal(theirs.statusCode, 404, method)
      const withoutInstance = (text: string): unknown => ({ ...JSON.parse(text) as object, instance: null })
      t.same(withoutInstance(theirs.body), withoutInstance(none.body), 'the answers do not differ')
    }
    t.match((await ada.send('GET', `/projects/${id}`)).json(), { name: 'Private' })
    await ada.send('DELETE', `/projects/${id}`)
  })

  await t.test('nobody reads or writes projects without signing in', async (t) => {
    const calls = [['GET', '/projects'], ['POST', '/projects'], ['GET', '/projects/1'], ['PATCH', '/projects/1'], [
      'DELETE',
      '/projects/1',
    ]] as const
    for (const [method, url] of calls) {
      const res = await new Visitor(app).send(method, url, method === 'POST' || method === 'PATCH' ? { body: {} } : {})
      t.equal(res.statusCode, 401, `${method} ${url}`)
      t.equal(codeOf(res), 'TOKEN_MISSING')
    }
  })

  await t.test("the list is the caller's own, newest first, by status and up to the limit", async (t) => {
    for (const [name, status] of [['a', 'active'], ['b', 'done'], ['c', 'active']] as const) {
      await eve.send('POST', '/projects', { body: { name, status } })
    }
    const names = async (query: string): Promise<string> =>
      (await eve.send('GET', `/projects${query}`)).json<ProjectBody[]>().map(({ name }) => name).join('')
    t.equal(await names(''), 'cba')
    t.equal(await names('?status=active'), 'ca')
    t.equal(await names('?limit=1'), 'c')
    t.equal(await names('?status=paused&limit=100'), '')
    t.same((await ada.send('GET', '/projects')).json(), [])
  })

  await t.test('a query that breaks a rule is refused', async (t) => {
    for (
      const query of [
        'limit=0',
        'limit=101',
        'limit=1.5',
        'limit=x',
        'limit=',
        'status=',
        'status=secret',
        'limit=1&limit=2',
        'owner=1',
        'status=active%00',
      ]
    ) {
      t.equal((await eve.send('GET', `/projects?${query}`)).statusCode, 400, query)
    }
  })

  await t.test('a body that breaks a rule is refused', async (t) => {
    const { id } = (await ada.send('POST', '/projects', { body: { name: 'Target' } })).json<ProjectBody>()
    const bad: readonly Record<string, unknown>[] = [
      { name: '' },
      { name: ' x' },
      { name: '\0' },
      { name: 'a\nb' },
      { name: '\ud800' },
      { name: 'n'.repeat(101) },
      { name: 1 },
      { name: null },
      { name: 'x', status: 'secret' },
      { name: 'x', description: 'd'.repeat(2001) },
      { name: 'x', description: 'a\0b' },
      { name: 'x', ownerId: id },
      { name: 'x', id },
      { name: 'x', owner_id: id },
    ]
    for (const body of bad) {
      t.equal(
        (await ada.send('POST', '/projects', { body })).statusCode,
        400,
        `POST ${JSON.stringify(body).slice(0, 60)}`,
      )
      t.equal(
        (await ada.send('PATCH', `/projects/${id}`, { body })).statusCode,
        400,
        `PATCH ${JSON.stringify(body).slice(0, 60)}`,
      )
    }
    t.equal((await ada.send('POST', '/projects', { body: {} })).statusCode, 400)
    t.equal((await ada.send('PATCH', `/projects/${id}`, { body: {} })).statusCode, 400, 'a change of nothing')
    t.match((await ada.send('GET', `/projects/${id}`)).json(), { name: 'Target', status: 'active' })
  })

  await t.test('what looks like SQL is stored as text', async (t) => {
    const name = '\'); drop table projects; --'
    const created = await ada.send('POST', '/projects', { body: { name } })
    t.equal(created.json<ProjectBody>().name, name)
    t.equal((await ada.send('GET', '/projects')).statusCode, 200)
  })

  await t.test('the totals are open to every origin, without cookies', async (t) => {
    const res = await new Visitor(app).send('GET', '/open/stats', { headers: { origin: 'https://anywhere.example' } })
    t.equal(res.statusCode, 200)
    t.same(Object.keys(res.json<object>()).sort(), ['projects', 'users'])
    t.equal(res.headers['access-control-allow-origin'], '*')
    t.notOk(res.headers['access-control-allow-credentials'])
    t.notOk(
      (await ada.send('GET', '/projects', { headers: { origin: 'https://anywhere.example' } }))
        .headers['access-control-allow-origin'],
    )
  })

  await t.test('the probe answers by any name and is not limited', async (t) => {
    const probe = new Visitor(app)
    for (let i = 0; i < 150; i++) {
      const res = await probe.send('GET', '/healthz', { headers: { host: '10.1.2.3:3000' } })
      if (res.statusCode !== 200) t.equal(res.statusCode, 200)
    }
    t.same((await probe.send('GET', '/healthz')).json(), { status: 'ok' })
  })

  await t.test('the readiness probe says when the database does not answer, and asks it once at a time', async (t) => {
    t.same((await new Visitor(app).send('GET', '/readyz')).json(), { status: 'ok' })
    let asked = 0
    const down = await startApp(t, {
      query: async () => {
        asked++
        await new Promise((resolve) => setTimeout(resolve, 50))
        throw new SecurityError('STORE_UNAVAILABLE')
      },
      close: async () => {},
    })
    const answers = await Promise.all(Array.from({ length: 50 }, async () => new Visitor(down).send('GET', '/readyz')))
    t.ok(answers.every(({ statusCode }) => statusCode === 503))
    t.ok(asked <= 2, `asked ${asked} times for 50 probes`)
  })

  await t.test('an unforeseen error of the database is a 500 without a word of the cause', async (t) => {
    const broken = await startApp(t, {
      query: async (text, params) =>
        text.includes('projects')
          ? Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:5432'))
          : database.query(text, params),
      close: async () => {},
    })
    const visitor = await member(broken, 'broken@example.com')
    const res = await visitor.send('GET', '/projects')
    t.equal(res.statusCode, 500)
    t.notMatch(res.body, /ECONNREFUSED|10\.0\.0\.7/)
    t.equal((await visitor.send('GET', '/healthz')).statusCode, 200)
  })
})

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { problemsWith } from '../helpers/resolve.js'
import { EVENT_NAMES, EVENTS } from '../../lib/events/catalogue.js'
import { securityOf } from '../../lib/policy/install.js'
import { events, type EventsOptions, type SecurityEventRecord } from '../../plugins/events.js'
import { Type, validation } from '../../plugins/validation.js'
import { ROOT } from '../helpers/root.js'

interface Line { readonly level: number, readonly msg: string, readonly [field: string]: unknown }

async function build (t: Test, options: EventsOptions = {}): Promise<{ app: FastifyInstance, lines: () => Line[] }> {
  let text = ''
  const app = Fastify({
    logger: {
      level: 'warn',
      stream: new Writable({
        write (chunk: Buffer, _encoding, done) {
          text += chunk.toString()
          done()
        },
      }),
    },
  })
  t.teardown(() => app.close())
  await app.register(events, options)
  return { app, lines: () => text.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Line) }
}

/** A route that reports an event, as a plugin of the suite does. */
function failing (app: FastifyInstance): void {
  app.get('/users/:id', async (request) => {
    securityOf(app).root.emit({ name: 'authz_fail', userId: 'u1', reason: 'INSUFFICIENT_ROLE' }, request)
    return {}
  })
}

test('an event of a request carries its id, address, method and route, never its URL', async (t) => {
  const { app, lines } = await build(t)
  const seen: SecurityEventRecord<'authz_fail'>[] = []
  app.security.events.on('authz_fail', (event) => { seen.push(event) })
  failing(app)
  await app.inject('/users/7?token=hunter2')
  t.match(seen, [{
    name: 'authz_fail',
    userId: 'u1',
    reason: 'INSUFFICIENT_ROLE',
    requestId: 'req-1',
    ip: '127.0.0.1',
    method: 'GET',
    route: '/users/:id',
  }])
  t.ok(Math.abs((seen[0]?.time ?? 0) - Date.now()) < 60_000)
  t.match(lines(), [{
    level: 40,
    msg: 'authz_fail',
    event: 'authz_fail',
    userId: 'u1',
    reqId: 'req-1',
    ip: '127.0.0.1',
    route: '/users/:id',
  }])
  t.notMatch(JSON.stringify([seen, lines()]), /hunter2/)
})

test('an event of a 404 has no route', async (t) => {
  const { app } = await build(t)
  const seen: SecurityEventRecord[] = []
  app.security.events.on('*', (event) => {
    seen.push(event)
  })
  app.addHook('onRequest', async (request) => {
    securityOf(app).root.emit({ name: 'malicious_cors', reason: 'origin' }, request)
  })
  await app.inject({ method: 'POST', url: '/nowhere?x=hunter2' })
  t.match(seen, [{ name: 'malicious_cors', method: 'POST', route: null }])
})

test('a listener that throws does not break the request', async (t) => {
  const { app, lines } = await build(t)
  app.security.events.on('*', () => { throw new Error('listener') })
  failing(app)
  t.equal((await app.inject('/users/7')).statusCode, 200)
  t.ok(lines().some(({ level, msg }) => level === 50 && msg.includes('listener')))
})

test('other plugins meet it through the scope, in whatever order they are registered', async (t) => {
  for (const first of ['events', 'validation']) {
    const app = Fastify()
    t.teardown(() => app.close())
    if (first === 'events') await app.register(events)
    await app.register(validation)
    if (first !== 'events') await app.register(events)
    const seen: SecurityEventRecord[] = []
    app.security.events.on('input_validation_fail', (event) => { seen.push(event) })
    app.post('/', { schema: { body: Type.Object({ a: Type.Integer() }) } }, async () => ({}))
    await app.inject({ method: 'POST', url: '/', payload: { a: 'hunter2', hunter2: 1 } })
    t.match(seen, [{ name: 'input_validation_fail', part: 'body', paths: ['body.*', 'body.a'], route: '/' }], first)
    t.notMatch(JSON.stringify(seen), /hunter2/)
  }
})

test('closing the app reports what the log left out', async (t) => {
  const { app, lines } = await build(t, { logLimit: 2 })
  failing(app)
  for (let index = 0; index < 5; index++) await app.inject('/users/7')
  t.equal(lines().length, 2)
  await app.close()
  t.match(lines()[2], { event: 'authz_fail', suppressed: 3, level: 40 })
})

test('an attack that stops is reported by a timer, which keeps no process alive', async (t) => {
  const script = `
    import Fastify from 'fastify'
    import { events } from ${JSON.stringify(new URL('../../plugins/events.js', import.meta.url).href)}
    import { securityOf } from ${JSON.stringify(new URL('../../lib/policy/install.js', import.meta.url).href)}
    const app = Fastify()
    await app.register(events, { logLimit: 0 })
    securityOf(app).root.emit({ name: 'authz_fail', userId: 'u', reason: 'r' }, null)
    const started = performance.now()
    process.on('exit', () => { process.stdout.write(String(performance.now() - started)) })
  `
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 50_000,
  })
  t.equal(status, 0, stderr)
  t.ok(Number(stdout) < 9_000, 'it did not wait for the ten seconds')
})

test('it is registered once, on the root', async (t) => {
  const { app } = await build(t)
  await t.rejects(Promise.resolve(app.register(events)), { code: 'BULWARK_CONFIG' })
  const other = Fastify()
  t.teardown(() => other.close())
  other.register(async (child) => { await child.register(events) })
  await t.rejects(Promise.resolve(other.ready()), { code: 'BULWARK_CONFIG' })
})

test('every option is checked', async (t) => {
  const wrong: [unknown, string][] = [[{ logLimit: -1 }, 'events.logLimit'], [{ logLimit: '5' }, 'events.logLimit'], [{
    logLimit: 100_001,
  }, 'events.logLimit'], [{ loglimit: 5 }, 'events.loglimit']]
  for (const [options, path] of wrong) {
    const problems = problemsWith(events, options)
    t.same(problems.map((problem) => problem.path), [path])
    await t.rejects(build(t, options as EventsOptions), { code: 'BULWARK_CONFIG' })
  }
  for (const options of [{}, { logLimit: undefined }, { logLimit: 0 }, { logLimit: 100_000 }]) {
    const problems = problemsWith(events, options)
    t.same(problems, [])
  }
})

test('docs/events.md lists every event with its level and its fields', async (t) => {
  const rows = [
    ...readFileSync(join(ROOT, 'docs', 'events.md'), 'utf8').matchAll(
      /^\| `([a-z_]+)` \| (info|warn|error) \| (.*) \|$/gm,
    ),
  ]
    .map(([, name, level, fields]) => [name, level, fields?.replaceAll('`', '').split(', ')])
  t.same(rows, EVENT_NAMES.map((name) => [name, EVENTS[name].level, EVENTS[name].fields]))
})

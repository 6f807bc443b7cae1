import Fastify, { type FastifyRequest } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { events } from '../../plugins/events.js'
import { captureLogs } from '../helpers/logs.js'
import { build, listen, SECRET } from './events-service.js'

test('a server that listens reports its start and its end, one that does not reports neither', async (t) => {
  const { app, lines } = await build(t, {}, {}, 'own')
  await listen(app)
  await sleep(30)
  await app.close()
  t.match(lines.filter(({ event }) => String(event).startsWith('sys_')), [{ level: 30, event: 'sys_startup', production: false }, { level: 30, event: 'sys_shutdown', uptimeSeconds: 0 }])
  const other = await build(t)
  await other.app.inject('/')
  await other.app.close()
  t.same(other.lines.filter(({ event }) => String(event).startsWith('sys_')), [])
})

test('ten thousand failed sign-ins leave a bounded log with exact counts, of one address and of ten thousand', async (t) => {
  const addresses: [string, (index: number) => string, number][] = [
    ['one', () => '192.0.2.1', 20],
    ['one /64', (index) => `2001:db8:0:1::${index.toString(16)}`, 20],
    ['ten thousand', (index) => `10.1.${index >> 8}.${index & 255}`, 100],
    ['ten thousand /64s', (index) => `2001:db8:${(index >> 8).toString(16)}:${(index & 255).toString(16)}::1`, 100],
  ]
  for (const [name, ip, most] of addresses) {
    const { logger, lines } = captureLogs()
    const app = Fastify({ logger })
    await app.register(events)
    await app.ready()
    for (let index = 0; index < 10_000; index++) {
      const request = { id: `req-${index}`, ip: ip(index), method: 'POST', log: app.log, routeOptions: { url: '/login' } }
      app.security.events.emit('authn_login_fail', { reason: 'credentials' }, request as unknown as FastifyRequest)
    }
    await app.close()
    const counted = lines.filter((line) => line['suppressed'] !== undefined)
    const logged = lines.filter((line) => line.msg === 'authn_login_fail' && line['suppressed'] === undefined).length
    t.equal(logged + counted.reduce((sum, line) => sum + Number(line['suppressed']), 0), 10_000, name)
    // The run may cross from one window of ten seconds into the next.
    t.ok(logged <= most * counted.length, `${name}: ${logged} lines`)
    if (most === 20) t.ok(counted.every((line) => (line['callers'] as unknown[]).length === 1), name)
  }
})

test('failed sign-ins through the server are counted by the address that a declared proxy gives', async (t) => {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger, trustProxy: ['127.0.0.1'] })
  await app.register(events, { accessLog: false, callerLogLimit: 2 })
  app.post('/login', async (request, reply) => {
    app.security.events.emit('authn_login_fail', { reason: 'credentials' }, request)
    return reply.code(401).send({})
  })
  for (let index = 0; index < 20; index++) await app.inject({ method: 'POST', url: '/login', headers: { 'x-forwarded-for': index < 15 ? '192.0.2.1' : '192.0.2.2' } })
  await app.close()
  t.same(lines.filter((line) => line['suppressed'] !== undefined).map((line) => [line['suppressed'], line['callers']]), [[16, [{ caller: '192.0.2.1', suppressed: 13 }, { caller: '192.0.2.2', suppressed: 3 }]]])
})

test('emit wants a name of the catalogue and passes its fields on alone', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(events)
  const seen: unknown[] = []
  app.security.events.on('*', (event) => { seen.push(event) })
  app.security.events.emit('authn_password_change', { userId: 'u1', password: SECRET } as { userId: string }, null)
  app.security.events.emit('user_created', { userId: 'u2', by: 'u1', name: 'authz_fail' } as { userId: string, by: string }, null)
  t.match(seen, [{ name: 'authn_password_change', userId: 'u1', requestId: null }, { name: 'user_created', userId: 'u2', by: 'u1' }])
  t.notMatch(JSON.stringify(seen), SECRET)
  // @ts-expect-error no such event
  t.throws(() => { app.security.events.emit('authn_password_changed', { userId: 'u1' }, null) }, { name: 'TypeError', message: /Did you mean "authn_password_change"/ })
  // @ts-expect-error the fields of another event
  t.throws(() => { app.security.events.emit('*', { userId: 'u1' }, null) }, { name: 'TypeError' })
  // @ts-expect-error a field is missing
  app.security.events.emit('authz_change', { userId: 'u1', from: 'a' }, null)
})

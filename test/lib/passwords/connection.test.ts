import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { test } from 'tap'
import { whileConnected } from '../../../lib/passwords/connection.js'

test('a client that hangs up aborts the signal, and one that waits does not', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const aborted: boolean[] = []
  let gone = (): void => {}
  const hungUp = new Promise<void>((resolve) => { gone = resolve })
  app.post('/wait', async (request) => whileConnected(request, async (signal) => {
    // Longer than it takes until Fastify's own signal would abort.
    await new Promise((resolve) => { setTimeout(resolve, 50) })
    aborted.push(signal.aborted)
    return { listeners: request.raw.socket.listenerCount('close') }
  }))
  app.post('/gone', async (request) => whileConnected(request, async (signal) => {
    client.destroy()
    await once(signal, 'abort')
    gone()
    return {}
  }))
  const url = await app.listen({ port: 0 })
  const send = async (): Promise<unknown> =>
    (await fetch(`${url}/wait`, { method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json' } }))
      .json()
  const first = await send()
  t.same([await send(), await send()], [first, first], 'a connection that stays gathers no listeners')
  t.same(aborted, [false, false, false])
  const client = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => {})
  client.write(
    'POST /gone HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}',
  )
  await hungUp
})

test('a connection that has closed before aborts at once', async (t) => {
  const socket = { destroyed: true, once: () => socket, off: () => socket }
  t.equal(await whileConnected({ raw: { socket: socket as never } }, async (signal) => signal.aborted), true)
})

test('what the work throws comes through, and the listener goes', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', async (request) => {
    const before = request.raw.socket.listenerCount('close')
    await t.rejects(whileConnected(request, async () => { throw new Error('broken') }), { message: 'broken' })
    return { left: request.raw.socket.listenerCount('close') - before }
  })
  t.same((await app.inject('/')).json(), { left: 0 })
})

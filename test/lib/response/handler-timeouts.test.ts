import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { test, type Test } from 'tap'
import { bulwark, createServer, defineSecurity, publicRoute, serverOptions } from '../../../index.js'
import { errors } from '../../../plugins/errors.js'
import { headers } from '../../../plugins/headers.js'
import { exchange } from '../../helpers/raw-http.js'
import { HandlerTimeouts } from '../../../lib/response/handler-timeouts.js'
import { PreparedResponse } from '../../../lib/response/response.js'

const open = { security: { auth: publicRoute('a route of the test') } }
const never = async (): Promise<void> => { await new Promise(() => {}) }

async function serve (
  t: Test,
  handlerTimeout: number,
  routes: (app: FastifyInstance) => void,
): Promise<{ app: FastifyInstance, port: number }> {
  const app = await createServer(defineSecurity({}), { logger: false, handlerTimeout })
  t.teardown(() => app.close())
  routes(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, port: (app.server.address() as AddressInfo).port }
}

const ask = async (port: number, path: string): Promise<string> =>
  exchange(port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)

test('a handler is given up in its time, never before, and its late answer is dropped', async (t) => {
  let finish = (): void => {}
  const { port } = await serve(t, 100, (app) => {
    app.get('/slow', open, async () => {
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      return { late: true }
    })
    app.get('/in-time', open, async () => {
      await wait(60)
      return { late: false }
    })
  })
  const started = performance.now()
  const answer = await ask(port, '/slow')
  const took = performance.now() - started
  t.match(answer, /^HTTP\/1\.1 503 [^]*"code":"SERVICE_UNAVAILABLE"/)
  t.ok(took >= 99, `${took} ms`)
  finish()
  await wait(10)
  t.match(await ask(port, '/in-time'), /^HTTP\/1\.1 200 /)
})

test('each of many requests has its own time, whatever places are taken again', async (t) => {
  const { port } = await serve(t, 150, (app) => {
    app.get('/slow', open, never)
    app.get('/quick', open, async () => 'quick')
  })
  const asked = Array.from({ length: 12 }, async (_unused, index) => {
    await wait(12 * index)
    const started = performance.now()
    const answer = await ask(port, index % 3 === 0 ? '/slow' : '/quick')
    return { index, status: answer.slice(9, 12), took: performance.now() - started }
  })
  for (const { index, status, took } of await Promise.all(asked)) {
    t.equal(status, index % 3 === 0 ? '503' : '200')
    if (status === '503') t.ok(took >= 149, `${index}: ${took} ms`)
  }
})

test('nothing is kept of an answer that is over, nor of one that waits behind others on a connection that is gone', async (t) => {
  const timeouts = new HandlerTimeouts(120)
  const app = Fastify({ http: { ServerResponse: PreparedResponse } })
  app.addHook('onRequest', async (_request, reply) => { timeouts.watch(reply) })
  app.get('/quick', async () => 'quick')
  app.get('/slow', never)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(async () => { timeouts.close(); await app.close() })
  const { port } = app.server.address() as AddressInfo
  for (let count = 0; count < 5; count++) await ask(port, '/quick')
  t.equal((await app.inject('/quick')).statusCode, 200)
  await wait(5)
  t.equal(timeouts.size, 0, 'answered')
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3))
  while (timeouts.size < 3) await wait(5)
  socket.destroy()
  for (let tries = 0; tries < 50 && timeouts.size > 0; tries++) await wait(20)
  t.equal(timeouts.size, 0, 'gone')
})

test('an answer that has begun is cut off in its time, and nothing is written after it', async (t) => {
  const { port } = await serve(t, 80, (app) => {
    app.get('/', open, async (_request, reply) => {
      const body = new PassThrough()
      body.write('first')
      return reply.type('text/plain').send(body)
    })
  })
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => { text += String(chunk) })
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const started = performance.now()
  await once(socket, 'close')
  t.ok(performance.now() - started >= 79)
  t.match(text, /^HTTP\/1\.1 200 [^]*first\r\n$/)
  t.equal(text.split('HTTP/1.1 ').length, 2, 'one status line')
})

test('a process that only injects stays until the handler is given up', async (t) => {
  const script = `import { createServer, defineSecurity, publicRoute } from ${
    JSON.stringify(import.meta.resolve('../../../index.js'))
  }
    const app = await createServer(defineSecurity({}), { logger: false, handlerTimeout: 60 })
    app.get('/', { security: { auth: publicRoute('a test') } }, () => new Promise(() => {}))
    console.log((await app.inject('/')).statusCode)
    await app.close()`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 30_000,
  })
  t.equal(stdout.trim(), '503')
})

test('a route that names its own time, a hijacked reply and an unknown path', async (t) => {
  const { app, port } = await serve(t, 60, (server) => {
    server.get('/longer', { ...open, handlerTimeout: 400 }, async () => { await wait(150); return 'longer' })
    server.get('/shorter', { ...open, handlerTimeout: 20 }, never)
    server.get('/hijacked', open, (_request, reply) => {
      reply.hijack()
      reply.raw.write('begun, ')
      void wait(150).then(() => { reply.raw.end('hijacked') })
    })
  })
  t.match(await ask(port, '/longer'), /^HTTP\/1\.1 200 [^]*longer$/)
  t.match(await ask(port, '/shorter'), /^HTTP\/1\.1 503 /)
  t.match(await ask(port, '/hijacked'), /^HTTP\/1\.1 200 [^]*hijacked/)
  t.match(await ask(port, '/nowhere'), /^HTTP\/1\.1 404 /)
  t.equal((await app.inject('/longer')).statusCode, 200)
})

test('the limit holds outside the scope that the suite is loaded in, too, and only once', async (t) => {
  const app = Fastify(serverOptions(defineSecurity({}), { logger: false, handlerTimeout: 60 }))
  t.teardown(() => app.close())
  app.get('/before', never)
  await app.register(async (scope) => {
    await scope.register(errors)
    await scope.register(headers)
    scope.get('/inside', never)
  })
  await app.register(async (scope) => {
    await scope.register(headers)
    scope.get('/other', { handlerTimeout: 400 }, async () => {
      await wait(120)
      return 'other'
    })
  })
  app.get('/outside', never)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const watch: (this: HandlerTimeouts, reply: FastifyReply) => void = Reflect.get(HandlerTimeouts.prototype, 'watch')
  t.teardown(() => { HandlerTimeouts.prototype.watch = watch })
  let watched = 0
  HandlerTimeouts.prototype.watch = function count (reply) {
    watched++
    watch.call(this, reply)
  }
  for (const path of ['/before', '/inside', '/outside']) {
    const answer = await ask(port, path)
    t.match(answer, /^HTTP\/1\.1 503 /, path)
    t.equal(answer.split('HTTP/1.1 ').length, 2, 'one answer')
  }
  t.match(await ask(port, '/other'), /^HTTP\/1\.1 200 /)
  t.equal(watched, 3, 'each once, and not the one that names its own time')
})

test('each server that is built from the same options has its limit', async (t) => {
  const security = defineSecurity({})
  const options = serverOptions(security, { logger: false, handlerTimeout: 60 })
  for (const name of ['first', 'second']) {
    const app = Fastify(options)
    t.teardown(() => app.close())
    await app.register(bulwark, security)
    app.get('/slow', open, never)
    t.equal((await app.inject('/slow')).statusCode, 503, name)
  }
})

test('a request that is injected is given up, too, and keeps the process until then', async (t) => {
  const { app } = await serve(t, 60, (server) => { server.get('/slow', open, never) })
  t.equal((await app.inject('/slow')).statusCode, 503)
  t.equal((await app.inject('/slow')).statusCode, 503)
})

test('an app whose own error handler knows the error of Fastify gets it', async (t) => {
  const { port } = await serve(t, 50, (server) => {
    void server.register(async (scope) => {
      scope.setErrorHandler((error, _request, reply) =>
        reply.code(504).send({ code: (error as { code?: string }).code })
      )
      scope.get('/slow', open, never)
    })
  })
  t.match(await ask(port, '/slow'), /^HTTP\/1\.1 504 [^]*FST_ERR_HANDLER_TIMEOUT/)
})

test('zero is no limit, a limit for Fastify itself stays with Fastify, and what is no time stops the boot', async (t) => {
  const answersLate = (app: FastifyInstance): void => {
    app.get('/slow', open, async () => {
      await wait(80)
      return 'late'
    })
  }
  const { port } = await serve(t, 0, answersLate)
  t.match(await ask(port, '/slow'), /^HTTP\/1\.1 200 /)

  const security = defineSecurity({})
  const app = Fastify({ ...serverOptions(security, { logger: false, handlerTimeout: 20 }), handlerTimeout: 300 })
  t.teardown(() => app.close())
  await app.register(bulwark, security)
  answersLate(app)
  t.equal((await app.inject('/slow')).statusCode, 200)

  for (const wrong of [-1, 1.5, NaN, Infinity, '10s', null]) {
    t.throws(() => serverOptions(security, { handlerTimeout: wrong as number }), {
      message: /fastify\.handlerTimeout: Not a whole number/,
    }, String(wrong))
  }
})

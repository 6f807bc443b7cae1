import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { SecurityError } from '../../lib/response/errors.js'
import { errors, type ErrorsOptions } from '../../plugins/errors.js'
import { assertHeaders } from '../helpers/headers.js'
import { captureLogs, type LogLine } from '../helpers/logs.js'

async function build (t: Test, options: ErrorsOptions = {}): Promise<{ app: FastifyInstance, lines: LogLine[] }> {
  const { logger, lines } = captureLogs()
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(errors, options)
  return { app, lines }
}

test('a 5xx says nothing of its cause; the log has it under the same id', async (t) => {
  const { app, lines } = await build(t)
  const cause = Object.assign(new Error('connection to 10.0.0.5 refused'), {
    config: { headers: { authorization: 'Bearer hidden' } },
  })
  app.get('/', async () => {
    throw new Error('query failed: SELECT secret', { cause })
  })
  const res = await app.inject('/')
  t.equal(res.statusCode, 500)
  assertHeaders(t, res.headers, { 'content-type': 'application/problem+json; charset=utf-8' })
  const body = res.json<{ instance: string, code: string }>()
  t.equal(body.code, 'INTERNAL_ERROR')
  t.notMatch(res.body, /secret|10\.0\.0\.5|stack/)
  const line = lines.find(({ reqId, ['code']: code }) => reqId === body.instance && code === 'INTERNAL_ERROR')
  t.match(line, {
    err: { message: 'query failed: SELECT secret', cause: { message: 'connection to 10.0.0.5 refused' } },
  })
  t.notMatch(JSON.stringify(lines), /hidden/)
})

test('every way to fail becomes a problem document without library text', async (t) => {
  const { app } = await build(t)
  app.post('/echo', { bodyLimit: 20 }, async (request) => request.body)
  app.get('/refused', async () => {
    throw new SecurityError('CONFLICT')
  })
  app.get('/status', async (_request, reply) => {
    reply.code(409)
    throw new Error('mine')
  })
  app.get('/string', async () => {
    throw 'a string' as unknown as Error
  })
  app.get('/null', async () => {
    throw null as unknown as Error
  })
  const post = (payload: string, type = 'application/json'): object => ({
    method: 'POST',
    url: '/echo',
    payload,
    headers: { 'content-type': type },
  })
  const table: [object | string, number, string][] = [
    ['/nope', 404, 'NOT_FOUND'],
    [post('{'), 400, 'BAD_REQUEST'],
    [post('{"__proto__":1}'), 400, 'BAD_REQUEST'],
    [post('{"long":"aaaaaaaaaaaaaaaaaaaaaaaa"}'), 413, 'BODY_TOO_LARGE'],
    [post('<x/>', 'text/xml'), 415, 'MEDIA_TYPE_NOT_SUPPORTED'],
    ['/refused', 409, 'CONFLICT'],
    ['/status', 409, 'CONFLICT'],
    ['/string', 500, 'INTERNAL_ERROR'],
    ['/null', 500, 'INTERNAL_ERROR'],
  ]
  for (const [request, status, code] of table) {
    const res = await app.inject(request as string)
    t.equal(res.statusCode, status, JSON.stringify(request))
    t.match(res.json(), { status, code, type: 'about:blank', title: String, detail: String, instance: String })
    t.notMatch(res.body, /FST_|Unexpected|JSON|Route|text\/xml|nope/)
  }
})

test('an unknown path is refused before its body is read, and a scope keeps a 404 handler of its own', async (t) => {
  const { app } = await build(t)
  let parsed = 0
  app.addContentTypeParser('text/xml', (_request, payload, done) => {
    parsed++
    payload.resume().on('end', () => {
      done(null)
    })
  })
  await app.register(async (scope) => {
    scope.setNotFoundHandler((_request, reply) => reply.code(404).send('mine'))
  }, { prefix: '/own' })
  for (const type of ['text/xml', 'application/json', 'nonsense/type']) {
    const res = await app.inject({ method: 'POST', url: '/nope', headers: { 'content-type': type }, payload: '{' })
    t.equal(res.statusCode, 404, type)
    t.match(res.json(), { code: 'NOT_FOUND' })
  }
  t.equal(parsed, 0)
  t.equal((await app.inject('/own/x')).body, 'mine')
})

test('a handler may answer that there is nothing', async (t) => {
  const { app } = await build(t)
  app.get('/maybe', (_request, reply) => { reply.callNotFound() })
  t.match((await app.inject('/maybe')).json(), { code: 'NOT_FOUND' })
})

test("an app's own error handler in a scope takes precedence there", async (t) => {
  const { app } = await build(t)
  await app.register(async (scope) => {
    scope.setErrorHandler((_error, _request, reply) => reply.code(418).send('mine'))
    scope.get('/x', async () => { throw new Error('x') })
  })
  t.equal((await app.inject('/x')).statusCode, 418)
})

test('a type base makes types that can be looked up', async (t) => {
  const { app } = await build(t, { typeBase: 'https://docs.example.com/errors#' })
  t.match((await app.inject('/nope')).json(), { type: 'https://docs.example.com/errors#NOT_FOUND' })
})

test('wrong options stop the boot', async (t) => {
  for (const options of [{ typeBase: 'docs' }, { typeBase: 5 }, { typebase: 'https://x' }]) {
    await t.rejects(
      async () => Fastify().register(errors, options as ErrorsOptions),
      { code: 'BULWARK_CONFIG' },
      JSON.stringify(options),
    )
  }
})

import type { FastifyInstance } from 'fastify'
import type { AddressInfo } from 'node:net'
import { before, t as root, test } from 'tap'
import { createServer, defineSecurity } from '../../index.js'
import { rawResponse, type RawResponse } from '../helpers/raw-http.js'

const NAME = 'api.example.com'

let app: FastifyInstance
let port = 0

before(async () => {
  app = await createServer(
    defineSecurity({
      transport: { proxies: ['127.0.0.1'], forwardedHost: true, hosts: [NAME, '[::1]', 'under_score'] },
    }),
    { logger: false },
  )
  app.get('/', async ({ host }) => ({ host }))
  app.options('/', async ({ host }) => ({ host }))
  app.get('/probe', { security: { transport: { hosts: 'any' } } }, async ({ host }) => ({ host }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  port = (app.server.address() as AddressInfo).port
})

root.teardown(() => app.close())

function send (lines: readonly string[], target = '/', method = 'GET', version = '1.1'): Promise<RawResponse> {
  return rawResponse(port, [`${method} ${target} HTTP/${version}`, ...lines, 'Connection: close', '', ''].join('\r\n'))
}

test('a Host that a URL would read as another host is refused, though it begins with a listed name', async (t) => {
  for (
    const host of [
      `${NAME}:x@evil.example`,
      `${NAME}:@evil.example`,
      `${NAME}:80@evil.example`,
      `${NAME}:80:81`,
      `${NAME}:80/x`,
      `${NAME}:/`,
      `${NAME}:80?x`,
      `${NAME}:80#x`,
      `${NAME}:-1`,
      `${NAME}:123456`,
      '[::1]evil.example',
      '[::1]@evil.example',
      '[::1].evil.example',
      '[::1]:x',
      '[::1%25eth0]',
      '[::1',
      '::1',
      `evil.example@${NAME}`,
      `${NAME}\\.evil.example`,
      `${NAME} evil.example`,
      `${NAME},evil.example`,
      'api%2eexample.com',
      '',
      '@',
      ':80',
      '\u00e4.example',
    ]
  ) {
    for (const target of ['/', '/probe', '/nope']) {
      t.equal((await send([`Host: ${host}`], target)).status, 400, `${JSON.stringify(host)} ${target}`)
    }
  }
  for (
    const host of [NAME, NAME.toUpperCase(), `${NAME}:`, `${NAME}:443`, `${NAME}.`, '[::1]', '[::1]:443', 'under_score']
  ) t.equal((await send([`Host: ${host}`])).status, 200, host)
})

test('more than one Host is refused, even twice the same', async (t) => {
  for (const second of ['evil.example', NAME, '']) {
    for (const spelling of ['Host', 'host', 'HOST']) {
      t.equal((await send([`Host: ${NAME}`, `${spelling}: ${second}`])).status, 400)
      t.equal((await send([`${spelling}: ${second}`, 'X-Between: 1', `Host: ${NAME}`])).status, 400)
    }
  }
})

test('a target that names another host than Host is refused', async (t) => {
  const table: [string, number, string?][] = [
    ['http://evil.example/', 400],
    ['https://evil.example/', 400],
    [`http://${NAME}.evil.example/`, 400],
    [`http://${NAME}@evil.example/`, 400],
    [`http://x@${NAME}/`, 400],
    [`http://${NAME}:81/`, 400],
    ['http://', 400],
    ['http:/x', 400],
    ['ftp://api.example.com/', 400],
    ['x', 400],
    ['*', 400],
    ['?x', 400],
    [`http://${NAME}\\@evil.example/`, 400],
    [`http://${NAME}/`, 200],
    [`HTTP://${NAME.toUpperCase()}/`, 200],
    [`https://${NAME}:443/`, 200],
    ['*', 200, 'OPTIONS'],
    ['//evil.example/', 404],
  ]
  for (const [target, status, method] of table) {
    t.equal((await send([`Host: ${NAME}`], target, method)).status, status, `${method ?? 'GET'} ${target}`)
  }
})

test('a believed X-Forwarded-Host is held to the same form', async (t) => {
  for (const host of [`${NAME}:x@evil.example`, '[::1]evil.example', `evil.example, ${NAME}:80/x`, `${NAME},`]) {
    t.equal((await send([`Host: ${NAME}`, `X-Forwarded-Host: ${host}`])).status, 400, host)
  }
  t.equal((await send(['Host: internal:3000', `X-Forwarded-Host: ${NAME}`])).status, 200)
})

test('an HTTP/1.0 request may leave out its host where any is served', async (t) => {
  t.equal((await send([], '/probe', 'GET', '1.0')).status, 200)
  t.equal((await send([], '/', 'GET', '1.0')).status, 421)
  t.equal((await send([], '/probe')).status, 400)
})

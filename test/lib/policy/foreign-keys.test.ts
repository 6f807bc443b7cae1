import Fastify from 'fastify'
import { test } from 'tap'
import { bulwark, createServer, defineSecurity } from '../../../index.js'
import { headers } from '../../../plugins/headers.js'
import { official } from '../../helpers/differential.js'

const KEYS: readonly (readonly [path: string, route: object, fix: RegExp])[] = [
  ['config.rateLimit', { config: { rateLimit: { max: 2 } } }, /security: \{ rateLimit:/],
  ['config.cors', { config: { cors: { origin: '*' } } }, /security: \{ cors:/],
  ['config.cors', { config: { cors: false } }, /security: \{ cors:/],
  ['config.csrf', { config: { csrf: false } }, /security: \{ csrf:/],
  ['config.helmet', { config: { helmet: false } }, /security: \{ headers:/],
  ['helmet', { helmet: { frameguard: false } }, /security: \{ headers:/],
  ['helmet', { helmet: false }, /security: \{ headers:/],
]

for (const [path, route, fix] of KEYS) {
  test(`${path} of an official plugin that is not there stops the boot: ${JSON.stringify(route)}`, async (t) => {
    const app = await createServer(defineSecurity({ rateLimit: false }), { logger: false })
    t.teardown(() => app.close())
    app.get('/a', route, async () => 1)
    await t.rejects(async () => app.ready(), {
      code: 'BULWARK_CONFIG',
      problems: { length: 1, 0: { path: `GET /a ${path}`, fix } },
    })
  })
}

test('the same key is left to the official plugin where the app registered it', async (t) => {
  const app = await createServer(defineSecurity({ cors: false, headers: false }), { logger: false })
  t.teardown(() => app.close())
  await app.register(async (scope) => {
    await scope.register(official('@fastify/cors'), { origin: 'https://app.example.com' } as object)
    await scope.register(official('@fastify/helmet'))
    scope.get('/a', { config: { cors: { origin: '*' } }, helmet: { frameguard: false } } as object, async () => 1)
  })
  await app.ready()
  const { headers: sent } = await app.inject('/a')
  t.equal(sent['access-control-allow-origin'], '*')
  t.equal(sent['x-frame-options'], undefined)
})

test('a plugin alone refuses them, too, and other keys of config are the app\'s', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(headers)
  app.get('/a', { config: { mine: 1 } as object }, async () => 1)
  app.get('/b', { helmet: false } as object, async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: { length: 1, 0: { path: 'GET /b helmet' } },
  })
})

test('the umbrella in a child scope adds nothing to what its parent reads', async (t) => {
  const app = await createServer(defineSecurity({}), { logger: false })
  t.teardown(() => app.close())
  await app.register(async (scope) => {
    await scope.register(bulwark, { cors: false })
    scope.get('/a', { config: { cors: false } } as object, async () => 1)
  })
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: { length: 1, 0: { path: 'GET /a config.cors' } },
  })
})

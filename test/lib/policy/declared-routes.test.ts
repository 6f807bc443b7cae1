import Fastify from 'fastify'
import { test } from 'tap'
import { declaredRoutes } from '../../../lib/policy/declared-routes.js'
import { isRootInstance } from '../../../lib/policy/instance.js'

test('names every route that exists, with its whole path and its methods', async (t) => {
  const app = Fastify()
  const handler = async (): Promise<number> => 1
  app.get('/', handler)
  app.get('/users', handler)
  app.get('/users/:id', handler)
  app.post('/users/:id/keys', handler)
  app.get('/files/*', handler)
  app.get('/usual', handler)
  app.get('/v', { constraints: { version: '1.0.0' } }, handler)
  app.register(async (scope) => { scope.delete('/inner', handler) }, { prefix: '/deep' })
  await app.ready()
  t.same(declaredRoutes(app).sort(), [
    'DELETE /deep/inner', 'GET,HEAD /', 'GET,HEAD /files/*', 'GET,HEAD /users', 'GET,HEAD /users/:id',
    'GET,HEAD /usual', 'GET,HEAD /v', 'POST /users/:id/keys',
  ])
  await app.close()
})

test('an instance without routes has none', async (t) => {
  t.same(declaredRoutes(Fastify()), [])
})

test('tells the root instance from a scope', async (t) => {
  const app = Fastify()
  t.equal(isRootInstance(app), true)
  app.register(async (scope) => { t.equal(isRootInstance(scope), false) })
  await app.ready()
  await app.close()
})

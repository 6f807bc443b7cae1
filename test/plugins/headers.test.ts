import Fastify from 'fastify'
import { test } from 'tap'
import { headers } from '../../plugins/headers.js'

test('headers stand on a plain answer', async (t) => {
  const app = Fastify()
  await app.register(headers)
  app.get('/', async () => ({ ok: true }))
  const res = await app.inject('/')
  t.equal(res.statusCode, 200)
  t.match(res.headers['content-security-policy'], /default-src 'none'/)
  t.comment(res.headers)
  await app.close()
})

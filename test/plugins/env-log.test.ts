import { Writable } from 'node:stream'
import { test } from 'tap'
import { createServer, defineSecurity, publicRoute, Type } from '../../index.js'
import { secret } from '../lib/auth/support.js'

test('a secret of the environment stands in no log line of the server, wherever it comes from', async (t) => {
  let text = ''
  const stream = new Writable({ write (chunk: Buffer, _encoding, done) { text += chunk.toString(); done() } })
  const key = secret()
  const password = `pw-${secret()}`
  const env = {
    schema: Type.Object({ API_KEY: Type.String({ secret: true }), DATABASE_URL: Type.String({ redact: true }) }),
    source: { API_KEY: key, DATABASE_URL: `postgres://app:${password}@db.internal/app` },
  }
  const app = await createServer(defineSecurity({ env, auth: false }), { logger: { level: 'trace', stream } })
  app.get('/say', { security: { auth: publicRoute('test') } }, async (request) => {
    request.log.info({ upstream: `https://api.example.com/?k=${key}`, nested: { deep: [key] } }, `called with ${key}`)
    request.log.error(new Error(`connect failed: postgres://app:${password}@db.internal/app`))
    throw new Error(`driver says ${password}`)
  })
  t.equal((await app.inject('/say')).statusCode, 500)
  t.match(text, /called with \[redacted\]/)
  t.match(text, /connect failed/)
  for (const hidden of [key, password]) t.notOk(text.includes(hidden))

  await app.close()
  const before = text.length
  app.log.info(`after the end: ${key}`)
  t.ok(
    text.slice(before).includes(key),
    'a server that is closed is watched no longer, so that tests and restarts leave nothing behind',
  )
})

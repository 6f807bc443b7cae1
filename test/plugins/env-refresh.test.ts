import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test } from 'tap'
import { createConfig } from '../../lib/env/config.js'
import { startRefresh } from '../../lib/secrets/refresh.js'
import { env } from '../../plugins/env.js'
import { loadEnvAsync } from '../../secrets.js'
import { createServer, defineSecurity } from '../../index.js'

const STRONG = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'

test('the plugin takes what loadEnvAsync returned, and the umbrella too', async (t) => {
  const config = await loadEnvAsync(Type.Object({ S: Type.String({ secret: true }) }), {
    source: {},
    sources: [{ name: 'x', load: async () => ({ S: STRONG }) }],
  })
  const alone = Fastify()
  const whole = await createServer(defineSecurity({ env: config }), { logger: false })
  t.teardown(async () => { await alone.close(); await whole.close() })
  await alone.register(env, config)
  t.equal(alone.config, config)
  t.equal(whole.config, config)
  const secret: string = whole.config.S
  t.equal(secret, STRONG)
  await t.rejects(Promise.resolve(Fastify().register(env, { schema: Type.Object({}), sources: [] } as never)), {
    code: 'BULWARK_CONFIG',
    message: /await loadEnvAsync/,
  })
})

test('the plugin logs a source that fails, once, and ends the refreshes with the server', async (t) => {
  let loads = 0
  const config = createConfig({ S: STRONG }, { production: false, hidden: ['S'], generated: [] })
  startRefresh(config, {
    origins: [{
      source: {
        name: 'failing',
        load: async () => {
          loads++
          throw new Error(STRONG)
        },
      },
      texts: new Map([['S', STRONG]]),
    }],
    timeoutMs: 50,
    refreshMs: 5,
    onRotate: null,
    judge: () => ({ values: {}, problems: [], accept: () => {} }),
  })
  let text = ''
  const app = Fastify({
    logger: {
      stream: new Writable({
        write (chunk: Buffer, _encoding, done) {
          text += chunk.toString()
          done()
        },
      }),
    },
  })
  await app.register(env, config)
  for (let i = 0; i < 200 && loads < 4; i++) await sleep(5)
  await app.close()
  const before = loads
  await sleep(40)
  t.equal(loads, before, 'nothing is asked after the close')
  const lines = text.split('\n').filter((line) => line.includes('could not be refreshed')).map((line) =>
    JSON.parse(line) as Record<string, unknown>
  )
  t.match(lines, [{ level: 50, source: 'failing' }])
  t.equal(lines.length, 1)
  t.notMatch(text, STRONG)
})

import { Writable } from 'node:stream'
import { format, inspect } from 'node:util'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { test, type Test } from 'tap'
import { loadEnv } from '../../../plugins/env.js'

const SECRET = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'
const LISTED = 'q7Tn2Vb9Wm4Kc8Zs1Xf6Rj3Lh5Pd0Gy_Bt-Q'

const schema = Type.Object({
  PORT: Type.Integer(),
  SECRET: Type.String({ secret: true }),
  LIST: Type.Array(Type.String(), { separator: ',', secret: true }),
  ABSENT: Type.Optional(Type.String({ secret: true })),
})
const config = loadEnv(schema, { source: { PORT: '3000', SECRET, LIST: LISTED } })

function hides (t: Test, text: string, how: string): void {
  t.notOk(text.includes(SECRET) || text.includes(LISTED), `${how} hides the secrets`)
}

test('a secret is read by its name, as plain text', async (t) => {
  const secret: string = config.SECRET
  t.equal(secret, SECRET)
  t.same(config.LIST, [LISTED])
  t.equal(config.ABSENT, undefined)
})

test('no way of printing shows a secret', async (t) => {
  const untyped: unknown = config
  const printed: Record<string, string> = {
    'JSON.stringify': JSON.stringify(config),
    'JSON.stringify inside': JSON.stringify({ nested: [{ config }] }),
    inspect: inspect(config),
    'inspect inside': inspect({ nested: { config } }),
    'inspect with everything': inspect(config, { showHidden: true, depth: null }),
    'inspect without the custom one': inspect(config, { showHidden: true, customInspect: false }),
    String: String(untyped),
    'template text': `config: ${config as unknown as string}`,
    '%s': format('%s', config),
    '%o': format('%o', config),
    '%O': format('%O', config),
    '%j': format('%j', config),
    'plain console.log': format(config),
    spread: JSON.stringify({ ...config }),
    assign: inspect(Object.assign({}, config)),
    entries: inspect(Object.entries(config)),
    values: inspect(Object.values(config)),
    clone: inspect(structuredClone(config)),
    descriptors: JSON.stringify(Object.getOwnPropertyDescriptors(config)),
  }
  for (const [how, text] of Object.entries(printed)) hides(t, text, how)
  t.same(JSON.parse(printed['JSON.stringify'] ?? ''), { PORT: 3000, SECRET: '[redacted]', LIST: '[redacted]' })
  t.match(printed['inspect'], /SECRET: '\[redacted\]'/)
})

test('a logger shows no secret, wherever the configuration stands in the line', async (t) => {
  let lines = ''
  const stream = new Writable({ write (chunk: Buffer, _encoding, done) { lines += chunk.toString(); done() } })
  const app = Fastify({ logger: { level: 'trace', stream } })
  t.teardown(() => app.close())
  app.log.info(config, 'as the merging object')
  app.log.info({ config }, 'as a member')
  app.log.info({ ...config }, 'spread')
  app.log.info('as text %j %o %s', config, config, config)
  app.log.child({ config }).info('bound to a child')
  app.log.error(Object.assign(new Error('failed'), { config }))
  hides(t, lines, 'pino')
  t.match(lines, /as a member/)
  t.match(lines, /"SECRET":"\[redacted\]"/)
})

test('methods of the configuration that were taken elsewhere tell nothing', async (t) => {
  const { toJSON } = config as unknown as { toJSON: () => unknown }
  t.same(Reflect.apply(toJSON, { SECRET: 'own' }, []), { SECRET: 'own' })
  const derived = Object.create(config) as object
  hides(t, inspect(derived, { showHidden: true }) + JSON.stringify(derived), 'a derived object')
})

import { test } from 'tap'
import Fastify from 'fastify'
import { createServer, defineSecurity, serverOptions, Type } from '../../index.js'
import { isSilent } from '../../lib/logging/silent.js'
import { watchSecretValues } from '../../plugins/events.js'
import { loggerOptions, SafeLogController } from '../../lib/logging/options.js'
import { build, open, SECRET } from './events-service.js'

test('secrets that are not searched for are counted in a warning at the boot, and never told', async (t) => {
  let values = ['five5', 'sixsix']
  t.teardown(watchSecretValues(() => values))
  for (const [own, expected] of [[values, [{ level: 40, tooShort: 1, beyondBound: 0 }]], [['sixsix'], []]] as const) {
    values = [...own]
    const { app, lines } = await build(t)
    await app.ready()
    const warned = lines.filter(({ msg }) => msg?.includes('secret values'))
    t.match(warned, expected)
    t.equal(warned.length, expected.length)
    t.notMatch(JSON.stringify(lines), /five5/)
  }
})

test('that warning comes once, and also where events are off', async (t) => {
  const env = { schema: Type.Object({ PIN: Type.String({ redact: true }) }), source: { PIN: 'five5' } }
  for (const own of [{}, { events: false as const }]) {
    const { app, lines } = await build(t, { env, ...own })
    await app.ready()
    t.match(lines.filter(({ msg }) => msg?.includes('secret values')), [{ level: 40, tooShort: 1 }])
    t.equal(lines.filter(({ msg }) => msg?.includes('secret values')).length, 1)
    t.notMatch(JSON.stringify(lines), /five5/)
    await app.close()
  }
})

test('no line of a server holds a known secret, wherever it was put, nor the headers of an error', async (t) => {
  const values = [SECRET]
  t.teardown(watchSecretValues(() => values))
  const { app, lines } = await build(t)
  app.get('/', open, async (request) => {
    const error = Object.assign(
      new Error(`connect redis://:${SECRET}@redis`, { cause: new AggregateError([new Error(SECRET)], SECRET) }),
      { config: { headers: { authorization: 'Bearer other-secret-value' } } },
    )
    request.log.error({ err: error }, 'failed')
    request.log.warn({ error, headers: { cookie: 'sid=other-secret-value' }, deep: { er: SECRET } }, `with ${SECRET}`)
    request.log.child({ key: SECRET }).info(
      { query: { token: 'other-secret-value' }, url: '/a?t=other-secret-value' },
      'bound',
    )
    request.log.info({ req: request, res: { statusCode: 200, headers: { 'set-cookie': 'other-secret-value' } } }, 'own')
    request.log.info(SECRET)
    throw error
  })
  await app.inject({ url: '/?token=other-secret-value', headers: { cookie: 'sid=other-secret-value' } })
  t.ok(lines.length >= 6)
  t.notMatch(JSON.stringify(lines), /hunter2|other-secret-value/)
  t.match(lines.find(({ msg }) => msg === 'failed'), {
    err: {
      message: 'connect redis://:[redacted]@redis',
      cause: { type: 'AggregateError', errors: [{ message: '[redacted]' }] },
    },
  })
})

test('an app\'s own serializers and hooks stay, and what its hook writes is cleaned', async (t) => {
  const values = [SECRET]
  t.teardown(watchSecretValues(() => values))
  let text = ''
  const hooks = {
    streamWrite: (line: string) => `${line.trimEnd()} ${SECRET}\n`,
    logMethod (this: unknown, args: unknown[], method: (...args: unknown[]) => void) {
      method.apply(this, args)
    },
  }
  const app = await createServer(defineSecurity({}), {
    logger: {
      level: 'warn',
      stream: {
        write (line: string) {
          text += line
        },
      },
      serializers: { req: () => 'mine' },
      hooks,
    },
  } as never)
  t.teardown(() => app.close())
  text = ''
  app.log.warn({ req: {}, res: { statusCode: 1, x: 2 } }, 'x')
  t.match(text, /"req":"mine","res":\{"statusCode":1\},"msg":"x"\} \[redacted\]\n$/)
  app.log.info('below the level')
  t.notMatch(text, /below/)
})

test('a logger that is turned off stays off, and an app\'s own controller stays', async (t) => {
  t.same(Object.keys(loggerOptions({ logger: false }, true)), ['logController'])
  t.same(Object.keys(loggerOptions({ logger: false, logController: new SafeLogController(true) }, true)), [])
})

test('only a server that serverOptions() built without any logger counts as silent', async (t) => {
  const definition = defineSecurity({ auth: false, rateLimit: false, transport: { proxies: 'none', https: 'off' } })
  for (
    const [options, expected] of [[{ logger: false }, true], [{}, false], [{ logger: true }, false], [{
      logger: false,
      childLoggerFactory: () => null,
    }, false]] as const
  ) {
    t.equal(isSilent(Fastify(serverOptions(definition, options as never))), expected, JSON.stringify(options))
  }
  t.equal(isSilent(Fastify({ logger: false })), false, 'which may have been given a factory')
})

test('a logger whose levels are one function still gets its access lines, and so does one per request', async (t) => {
  const lines: string[] = []
  const write = (fields: unknown, message?: string): void => {
    lines.push(message ?? String(fields))
  }
  const one = {
    level: 'info',
    info: write,
    warn: write,
    error: write,
    fatal: write,
    trace: write,
    debug: write,
    silent: write,
    child: () => one,
  }
  for (const options of [{ loggerInstance: one }, { logger: false as const, childLoggerFactory: () => one }]) {
    const app = await createServer(
      defineSecurity({ auth: false, rateLimit: false, transport: { proxies: 'none', https: 'off' } }),
      options as never,
    )
    t.teardown(() => app.close())
    app.get('/', async () => 'ok')
    await app.inject({ url: '/', headers: { host: 'localhost' } })
    t.equal(lines.splice(0).filter((line) => line === 'request').length, 1)
  }
})

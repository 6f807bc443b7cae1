import { trace, type Meter, type ObservableResult, type Span } from '@opentelemetry/api'
import Fastify, { type FastifyInstance } from 'fastify'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { test, type Test } from 'tap'
import { metrics, type MetricsOptions } from '../../metrics.js'
import { otel } from '../../otel.js'
import { events } from '../../plugins/events.js'
import { rateLimit } from '../../plugins/rate-limit.js'

async function build (
  t: Test,
  register: (app: FastifyInstance) => Promise<unknown>,
  limits = true,
): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(events)
  await register(app)
  if (limits) {
    await app.register(rateLimit, {
      redis: false,
      keySecret: 'k'.repeat(32),
      policies: { two: { limit: 2, window: '1m', by: 'ip' } },
    })
  }
  app.get('/users/:id', limits ? { security: { rateLimit: { only: ['two'] } } } : {}, async () => ({}))
  return app
}

const text = (app: FastifyInstance): Promise<string> => app.metrics.register.metrics()

test('prom-client gets events, requests by bounded labels and the limiter\'s numbers', async (t) => {
  const app = await build(t, async (one) => one.register(metrics))
  for (let index = 0; index < 4; index++) await app.inject(`/users/${index}?token=hunter2`)
  for (let index = 0; index < 3; index++) await app.inject(`/nowhere-${index}`)
  await app.inject({ method: 'PROPFIND' as never, url: '/x' })
  for (const round of [1, 2]) {
    const found = await text(app)
    for (const line of [
      'bulwark_security_events_total{event="excess_rate_limit_exceeded"} 2',
      'bulwark_http_request_duration_seconds_count{status="2xx",route="/users/:id",method="GET"} 2',
      'bulwark_http_request_duration_seconds_count{status="4xx",route="/users/:id",method="GET"} 2',
      'bulwark_http_request_duration_seconds_count{status="4xx",route="none",method="GET"} 3',
      'bulwark_rate_limit_requests_total{policy="two",outcome="allowed"} 2',
      'bulwark_rate_limit_requests_total{policy="two",outcome="denied"} 2',
      'bulwark_rate_limit_store_breaker{state="closed"} 1',
      'bulwark_rate_limit_store_breaker{state="open"} 0',
      'bulwark_rate_limit_store_failures_total 0',
    ]) t.ok(sameLine(found, line), `${line}, reading ${round}`)
    t.notMatch(found, /hunter2|nowhere-|PROPFIND/)
  }
})

/** Labels have no order. */
function sameLine (found: string, line: string): boolean {
  const normal = (one: string): string =>
    one.replace(/\{(.*)\}/, (_all, labels: string) => `{${labels.split(',').sort().join(',')}}`)
  return found.split('\n').map(normal).includes(normal(line))
}

test('a client that went away is counted apart', async (t) => {
  const app = await build(t, async (one) => one.register(metrics), false)
  let arrived = (): void => {}
  const arrival = new Promise<void>((resolve) => { arrived = resolve })
  app.get('/slow', async () => { arrived(); await new Promise(() => {}) })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
  await arrival
  socket.destroy()
  for (let tries = 0; tries < 50 && !(await text(app)).includes('aborted_total{'); tries++) await sleep(20)
  t.ok(sameLine(await text(app), 'bulwark_http_requests_aborted_total{route="/slow",method="GET"} 1'))
})

test('durations are in seconds', async (t) => {
  const app = await build(t, async (one) => one.register(metrics), false)
  app.get('/slow', async () => { await sleep(30); return {} })
  await app.inject('/slow')
  const sum = Number(/duration_seconds_sum\{[^}]*\/slow[^}]*\} (\S+)/.exec(await text(app))?.[1])
  t.ok(sum > 0.02 && sum < 5, `${sum}`)
})

test('the numbers of a store that fails are read anew each time, in their units', async (t) => {
  const observed: number[] = []
  const observable = (name: string): object => ({
    addCallback: (callback: (result: object) => void) => {
      if (name.endsWith('open')) {
        callback({
          observe: (value: number) => {
            observed.push(value)
          },
        })
      }
    },
    removeCallback: () => {},
  })
  const meter = {
    createCounter: () => ({}),
    createObservableCounter: observable,
    createObservableGauge: observable,
  } as unknown as Meter
  const app = Fastify()
  t.teardown(() => app.close())
  const counters = (): object => ({
    policies: {},
    store: { breaker: 'half-open', failures: 3 },
  })
  app.decorate('security', { events: { on: () => {} }, limits: { counters } } as never)
  await app.register(metrics)
  await app.register(otel, { meter })
  await app.ready()
  for (const round of [1, 2]) {
    const found = await text(app)
    for (
      const line of [
        'store_failures_total 3',
        'store_breaker{state="half-open"} 1',
        'store_breaker{state="closed"} 0',
      ]
    ) t.ok(sameLine(found, `bulwark_rate_limit_${line}`), `${line}, reading ${round}`)
  }
  t.same(observed, [1])
})

test('two servers of a process do not meet, and a registry, a prefix and buckets can be given', async (t) => {
  const register = new Registry()
  const own: MetricsOptions = { register, prefix: 'shop_', buckets: [1, 2] }
  const one = await build(t, async (app) => app.register(metrics, own))
  const two = await build(t, async (app) => app.register(metrics), false)
  await one.inject('/users/1')
  await two.inject('/users/1')
  t.equal(one.metrics.register, register)
  t.match(await text(one), /shop_http_request_duration_seconds_bucket\{le="2"/)
  t.notMatch(await text(one), /le="5"|bulwark_/)
  t.notMatch(await text(two), /shop_|rate_limit/, 'without a limiter it has no numbers')
})

test('OpenTelemetry gets a counter, an event on the active span and the limiter\'s numbers', async (t) => {
  const added: unknown[] = []
  const callbacks = new Map<string, ((result: ObservableResult) => void)[]>()
  const observable = (name: string): object => {
    const own: ((result: ObservableResult) => void)[] = []
    callbacks.set(name, own)
    return {
      addCallback: (callback: never) => {
        own.push(callback)
      },
      removeCallback: (callback: never) => {
        own.splice(own.indexOf(callback), 1)
      },
    }
  }
  const meter = {
    createCounter: () => ({ add: (value: number, attributes: object) => { added.push([value, attributes]) } }),
    createObservableCounter: observable,
    createObservableGauge: observable,
  } as unknown as Meter
  const onSpan: unknown[] = []
  const span = {
    addEvent: (name: string, attributes: object) => {
      onSpan.push([name, attributes])
    },
  } as unknown as Span
  const active = trace.getActiveSpan
  t.teardown(() => { trace.getActiveSpan = active })
  trace.getActiveSpan = () => span
  const app = await build(t, async (one) => one.register(otel, { meter }))
  for (let index = 0; index < 3; index++) await app.inject('/users/1?token=hunter2')
  t.same(added, [[1, { 'event.name': 'excess_rate_limit_exceeded' }]])
  t.match(onSpan, [['excess_rate_limit_exceeded', {
    'bulwark.policies': ['two'],
    'bulwark.route': '/users/:id',
    'bulwark.method': 'GET',
    'bulwark.ip': '127.0.0.1',
  }]])
  t.notMatch(JSON.stringify(onSpan), /hunter2/)
  app.security.events.emit('authn_password_change', { userId: 'u1' }, null)
  t.same(onSpan.at(-1), ['authn_password_change', { 'bulwark.userId': 'u1' }], 'what is null says nothing')
  const observed: unknown[] = []
  const result = {
    observe: (value: number, attributes?: object) => {
      observed.push([value, attributes])
    },
  } as unknown as ObservableResult
  for (const own of callbacks.values()) for (const callback of own) callback(result)
  t.match(observed.filter((one) => JSON.stringify(one).includes('"two"') && JSON.stringify(one).includes('denied')), [[
    1,
    { policy: 'two', outcome: 'denied' },
  ]])
  t.same(observed.at(-1), [0, undefined])
  await app.close()
  t.same([...callbacks.values()].map(({ length }) => length), [0, 0])
})

test('without an SDK OpenTelemetry costs nothing but does no harm', async (t) => {
  const app = await build(t, async (one) => one.register(otel))
  for (let index = 0; index < 3; index++) t.ok((await app.inject('/users/1')).statusCode < 500)
})

test('both want the events plugin', async (t) => {
  for (const plugin of [metrics, otel]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(Promise.resolve(app.register(plugin as typeof metrics)), { code: 'BULWARK_CONFIG' })
  }
})

test('neither is loaded by the suite', async (t) => {
  const { execFileSync } = await import('node:child_process')
  const script = `
    await import(${JSON.stringify(new URL('../../index.js', import.meta.url).href)})
    const { createRequire } = await import('node:module')
    process.stdout.write(String(Object.keys(createRequire(import.meta.url).cache).filter((path) => /prom-client|opentelemetry/.test(path)).length))`
  t.equal(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      cwd: new URL('../../..', import.meta.url).pathname,
    }),
    '0',
  )
})

import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { createConfig, followerOf, secretValuesOf, type ConfigLog } from '../../../lib/env/config.js'
import { startRefresh, stopRefresh, type Judge, type OnRotate } from '../../../lib/secrets/refresh.js'
import { SecretSourceError, type SecretSource } from '../../../lib/secrets/source.js'

type Line = readonly [level: 'error' | 'info', facts: Readonly<Record<string, unknown>>, message: string]

interface Bench {
  /** Answers the next refreshes. */
  load: SecretSource['load']
  loads: number
  readonly lines: Line[]
  readonly rotated: [string, unknown][]
  readonly accepted: string[]
  readonly config: ReturnType<typeof createConfig>
  readonly until: (done: () => boolean) => Promise<void>
}

function bench (t: Test, options: { onRotate?: OnRotate, weak?: string, attach?: boolean } = {}): Bench {
  const config = createConfig({ A: 'value-one' }, { production: false, hidden: ['A'], generated: [] })
  const made: Bench = {
    load: async () => ({ A: 'value-one', B: 'value-b' }),
    loads: 0,
    lines: [],
    rotated: [],
    accepted: [],
    config,
    async until (done) {
      for (let i = 0; i < 400 && !done(); i++) await sleep(5)
      t.ok(done(), 'it happened')
    },
  }
  const judge: Judge = (changed) => {
    const problems: Problem[] = [...changed].filter(([, text]) => text === options.weak).map(([name]) => ({ path: `env.${name}`, message: 'Too weak.', fix: 'Make another.' }))
    return { values: Object.fromEntries(changed), problems, accept: () => { made.accepted.push(...changed.keys()) } }
  }
  const source: SecretSource = { name: 'bench', load: async (names, context) => { made.loads++; return await made.load(names, context) } }
  startRefresh(config, {
    origins: [{ source, texts: new Map([['A', 'value-one'], ['B', 'value-b']]) }],
    timeoutMs: 100,
    refreshMs: 5,
    onRotate: options.onRotate ?? ((name, value) => { made.rotated.push([name, value]) }),
    judge,
  })
  t.teardown(() => { stopRefresh(config) })
  if (options.attach !== false) followerOf(config)?.attach(logOf(made.lines))
  return made
}

function logOf (lines: Line[]): ConfigLog {
  return {
    error: (facts, message) => {
      lines.push(['error', facts, message])
    },
    info: (facts, message) => {
      lines.push(['info', facts, message])
    },
  }
}

test('a value that did not change is not handed over, one that did is, once', async (t) => {
  const made = bench(t)
  await made.until(() => made.loads > 2)
  t.same(made.rotated, [])
  made.load = async () => ({ A: 'value-two', B: 'value-b', C: 'not-asked' })
  await made.until(() => made.rotated.length > 0)
  const loads = made.loads
  await made.until(() => made.loads > loads + 2)
  t.same(made.rotated, [['A', 'value-two']])
  t.same(made.accepted, ['A'])
  t.same(made.lines.map(([level, facts]) => [level, facts]), [['info', { source: 'bench', variables: ['A'] }]])
  t.notMatch(JSON.stringify(made.lines), /value-/)
})

test('a source that fails is told of once, keeps the old values, and is told of once when it is back', async (t) => {
  const made = bench(t)
  made.load = async () => { throw new SecretSourceError({ message: 'Sealed.', fix: 'Unseal it.' }) }
  await made.until(() => made.loads > 4)
  t.same(made.lines.map(([level]) => level), ['error'])
  t.match(made.lines[0]?.[1], { source: 'bench', problems: ['Sealed. Unseal it.'] })
  made.load = async () => ({ A: 'value-one', B: 'value-b' })
  await made.until(() => made.lines.length > 1)
  t.same(made.lines.map(([level]) => level), ['error', 'info'])
  t.same(made.rotated, [])
  made.load = async () => { throw new Error('value-two') }
  await made.until(() => made.lines.length > 2)
  t.equal(made.lines[2]?.[0], 'error', 'the next failure is a new one')
  t.notMatch(JSON.stringify(made.lines), /value-/)
})

test('a hanging source, a value that is gone and one that is too weak are failures that keep what was', async (t) => {
  const cases: [string, SecretSource['load'], RegExp][] = [
    ['hanging', () => new Promise(() => {}), /No answer within 100 ms/],
    ['gone', async () => ({ B: 'value-b' }), /no longer has A/],
    ['empty', async () => ({ A: '', B: 'value-b' }), /no longer has A/],
    ['weak', async () => ({ A: 'value-weak', B: 'value-new' }), /refused: env\.A: Too weak/],
  ]
  for (const [name, load, reason] of cases) {
    const made = bench(t, { weak: 'value-weak' })
    made.load = load
    await made.until(() => made.lines.length > 0)
    t.match(JSON.stringify(made.lines[0]?.[1]), reason, name)
    t.same([made.rotated, made.accepted], [[], []], `${name}: also the other values of this source stay`)
    t.notMatch(JSON.stringify(made.lines), /value-/)
    stopRefresh(made.config)
  }
})

test('a callback that throws gets the value again, and nobody logs it meanwhile', async (t) => {
  let calls = 0
  const known: boolean[] = []
  const made = bench(t, {
    onRotate: async (_name, value) => {
      known.push(secretValuesOf(made.config).includes(String(value)))
      if (++calls < 3) throw new Error(`cannot use ${String(value)}`)
    },
  })
  made.load = async () => ({ A: 'value-two', B: 'value-b' })
  await made.until(() => made.accepted.length > 0)
  t.equal(calls, 3)
  t.same(known, [true, true, true], 'the value is known before the callback has it')
  t.match(made.lines.map(([level]) => level), ['error', 'info', 'info'])
  t.match(JSON.stringify(made.lines[0]), /onRotate failed for A \(Error\)/)
  t.notMatch(JSON.stringify(made.lines), /value-/)
})

test('a failure before there was a log is told when there is one', async (t) => {
  const made = bench(t, { attach: false })
  made.load = async () => { throw new SecretSourceError({ message: 'Sealed.', fix: 'Unseal it.' }) }
  await made.until(() => made.loads > 2)
  followerOf(made.config)?.attach(logOf(made.lines))
  t.same(made.lines.map(([level]) => level), ['error'])
  t.equal(followerOf({}), null, 'a look-alike has no follower')
})

test('after the stop nothing is asked, handed over or logged, also not by a refresh under way', async (t) => {
  const made = bench(t)
  let aborted = false
  made.load = (_names, { signal }) => new Promise((resolve) => {
    signal.addEventListener('abort', () => { aborted = true; resolve({ A: 'value-two', B: 'value-b' }) })
  })
  await made.until(() => made.loads > 0)
  const { loads } = made
  stopRefresh(made.config)
  await sleep(40)
  t.ok(aborted)
  t.same([made.loads, made.rotated, made.lines], [loads, [], []])
  t.doesNotThrow(() => { stopRefresh({}) })
})

test('refreshes keep no process alive', async (t) => {
  const script = `
    import { loadEnvAsync } from 'fastify-bulwark/secrets'
    import { Type } from 'fastify-bulwark/validation'
    await loadEnvAsync(Type.Object({ A: Type.String({ redact: true }) }), { source: {}, sources: [{ name: 'x', load: async () => ({ A: 'a' }) }], refresh: '1h' })`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { PATH: process.env['PATH'] },
  })
  t.same([status, stderr], [0, ''])
})

import Fastify, { type FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import { SecurityError } from '../../../lib/response/errors.js'
import { addSection, claimRegistration, overrideScope, turnOff } from '../../../lib/policy/install.js'
import type { Phase } from '../../../lib/policy/pipeline.js'
import { ANSWERED, defineSection, type PlacedStep, type Step } from '../../../lib/policy/section.js'

/** A section whose policy is a word; its step appends the word to a trace. */
function wordSection (
  key: string,
  trace: string[],
  phase: Phase<'onRequest'>,
): ReturnType<typeof defineSection<string, string>> {
  return defineSection<string, string>({
    key,
    resolve (base, input, where, problems) {
      if (typeof input === 'string') return input
      problems.push({ path: where, message: 'Not a word.', fix: 'Write a word.' })
      return base
    },
    compile: (word) => [{
      hook: 'onRequest',
      phase,
      run: function record () {
        trace.push(`${key}=${word}`)
        return undefined
      },
    }],
  })
}

function stepSection (key: string, ...steps: PlacedStep[]): ReturnType<typeof defineSection<never, null>> {
  return defineSection<never, null>({ key, hooks: ['preValidation'], resolve: () => null, compile: () => steps })
}

function build (t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const security = (input: object): { security: never } => ({ security: input as never })

test('steps run in the order of the pipeline, whatever the order of registration', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('c', trace, 'csrf'), '3')
  addSection(app, wordSection('a', trace, 'headers'), '1')
  addSection(app, wordSection('b', trace, 'limit-address'), '2')
  app.get('/', async () => 1)
  await app.inject('/')
  t.same(trace, ['a=1', 'b=2', 'c=3'])
})

test('a route changes only what it names; its policy is frozen into config; HEAD shares it', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('a', trace, 'headers'), 'base')
  addSection(app, wordSection('b', trace, 'cors'), 'base')
  app.get('/', { ...security({ b: 'own' }), config: { mine: 1 } as object }, async (request) => {
    const { config } = request.routeOptions
    t.ok(Object.isFrozen(config.security))
    return config
  })
  t.match((await app.inject('/')).json(), { mine: 1, security: { a: 'base', b: 'own' } })
  await app.inject({ method: 'HEAD', url: '/' })
  t.same(trace, ['a=base', 'b=own', 'a=base', 'b=own'])
})

test('an unmatched request runs the base policy of its scope', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('a', trace, 'headers'), 'base')
  t.equal((await app.inject('/nope')).statusCode, 404)
  t.same(trace, ['a=base'])
})

test('a policy forged in config is not taken for a compiled one', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('a', trace, 'headers'), 'base')
  app.get('/', { config: { security: Object.freeze({ a: 'forged' }) } as never }, async () => 1)
  await app.inject('/')
  t.same(trace, ['a=base'])
})

test('the first refusal ends the pipeline: no later step, no handler', async (t) => {
  const app = build(t)
  const trace: string[] = []
  const refusals: [string, Step][] = [
    ['returned', () => new SecurityError('FORBIDDEN')],
    ['thrown', () => { throw new SecurityError('FORBIDDEN') }],
    ['resolved', async () => new SecurityError('FORBIDDEN')],
    ['rejected', async () => { throw new SecurityError('FORBIDDEN') }],
  ]
  for (const [name, run] of refusals) {
    app.register(async (scope) => {
      addSection(scope, stepSection('refuse', { hook: 'onRequest', phase: 'cors', run }), null)
      addSection(scope, wordSection('later', trace, 'csrf'), 'ran')
      scope.get('/', async () => { trace.push('handler'); return 1 })
    }, { prefix: `/${name}` })
  }
  await app.ready()
  for (const [name] of refusals) t.equal((await app.inject(`/${name}`)).statusCode, 403, name)
  t.same(trace, [])
})

test('a step that answers ends the pipeline; one that waits holds it', async (t) => {
  const app = build(t)
  const trace: string[] = []
  const wait: Step = async () => { await new Promise(setImmediate); trace.push('waited'); return undefined }
  addSection(app, stepSection('wait', { hook: 'onRequest', phase: 'headers', run: wait }), null)
  addSection(app, wordSection('after', trace, 'cors'), 'ran')
  addSection(
    app,
    stepSection('answer', {
      hook: 'onRequest',
      phase: 'preflight',
      run: (_request, reply) => {
        reply.code(204).send()
        return ANSWERED
      },
    }),
    null,
  )
  app.get('/', async () => {
    trace.push('handler')
    return 1
  })
  t.equal((await app.inject('/')).statusCode, 204)
  t.same(trace, ['waited', 'after=ran'])
})

test('late steps all run, even when one fails, and cannot change the answer', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(
    app,
    stepSection('s', {
      hook: 'onSend',
      phase: 'limit-settle',
      run: () => {
        throw new Error('broken')
      },
    }, {
      hook: 'onSend',
      phase: 'limit-settle',
      run: async () => {
        throw new Error('broken too')
      },
    }, {
      hook: 'onSend',
      phase: 'limit-settle',
      run: () => {
        trace.push('final')
        return new SecurityError('FORBIDDEN')
      },
    }),
    null,
  )
  app.get('/', async () => 1)
  t.equal((await app.inject('/')).statusCode, 200)
  t.same(trace, ['final'])
})

test('all problems of all routes are thrown together when the server gets ready', async (t) => {
  const app = build(t)
  addSection(app, wordSection('word', [], 'headers'), 'base')
  app.get('/a', security({ word: 1 }), async () => 1)
  app.post('/b', security({ wrod: 'x' }), async () => 1)
  app.get('/c', security({ completely: 'x' }), async () => 1)
  app.get('/d', { security: 'all' as never }, async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [
      { path: 'GET /a security.word' },
      { path: 'GET /d security' },
      { path: 'POST /b security.wrod', fix: 'Did you mean "word"?' },
      { path: 'GET /c security.completely', fix: 'Known here: word.' },
    ],
  })
})

test('an override holds in its scope and below, not beside or above', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('w', trace, 'headers'), 'root')
  app.get('/', async () => 1)
  app.register(async (scope) => {
    overrideScope(scope, { w: 'child' }, 'scope')
    scope.get('/', async () => 1)
    scope.register(async (deep) => { deep.get('/', async () => 1) }, { prefix: '/deep' })
    scope.register(async (deep) => {
      overrideScope(deep, { w: 'grandchild' }, 'deep')
      deep.get('/', async () => 1)
    }, { prefix: '/own' })
  }, { prefix: '/child' })
  app.register(async (scope) => { scope.get('/', async () => 1) }, { prefix: '/sibling' })
  for (const url of ['/', '/child', '/child/deep', '/child/own', '/sibling']) await app.inject(url)
  t.same(trace, ['w=root', 'w=child', 'w=child', 'w=grandchild', 'w=root'])
})

test('an override holds for the routes of its scope that were declared before it', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('w', trace, 'headers'), 'root')
  app.register(async (scope) => {
    scope.get('/early', async () => 1)
    await scope.register(async (deep) => { deep.get('/deep', async () => 1) })
    overrideScope(scope, { w: 'first' }, 'first')
    overrideScope(scope, { w: 'second' }, 'second')
  })
  await app.inject('/early')
  await app.inject('/deep')
  t.same(trace, ['w=second', 'w=second'])
})

test('a section added after a route still covers it, in child scopes too', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('first', trace, 'headers'), 'base')
  app.get('/root', async () => 1)
  await app.register(async (scope) => {
    overrideScope(scope, { first: 'child' }, 'scope')
    scope.get('/child', async () => 1)
  })
  addSection(app, wordSection('late', trace, 'cors'), 'base')
  addSection(app, wordSection('later', trace, 'csrf'), 'base')
  await app.inject('/root')
  await app.inject('/child')
  t.same(trace, ['first=base', 'late=base', 'later=base', 'first=child', 'late=base', 'later=base'])
})

test('a hook that only a late section asks for runs on the routes and in the scopes that were there before', async (t) => {
  const app = build(t)
  const trace: string[] = []
  addSection(app, wordSection('first', trace, 'headers'), 'base')
  await app.register(async (scope) => { scope.post('/child', async () => 1) })
  const note = (word: string) => (): undefined => { trace.push(word) }
  addSection(app, stepSection('late',
    { hook: 'preValidation', phase: 'limit-body', run: note('preValidation') },
  ), null)
  await app.inject({ method: 'POST', url: '/child' })
  t.same(trace, ['first=base', 'preValidation'])
})

test('a step in a hook that its section does not name is refused, because it would never run', async (t) => {
  const app = build(t)
  addSection(app, {
    key: 's',
    resolve: () => null,
    compile: () => [{ hook: 'preValidation', phase: 'limit-body', run: () => undefined }],
  }, null)
  app.get('/', async () => 1)
  await t.rejects(async () => app.ready(), /"s" has a step in preValidation/)
})

test('a route that was declared before the suite stops the boot: its key was not read', async (t) => {
  const app = build(t)
  app.get('/early', security({ w: 'own' }), async () => 1)
  addSection(app, wordSection('w', [], 'headers'), 'base')
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'GET,HEAD /early', message: /before the suite/ }],
  })
})

test('in a child scope the earlier routes of that scope stop the boot, not those of others', async (t) => {
  const app = build(t)
  app.get('/other', async () => 1)
  await app.register(async (scope) => { scope.get('/beside', async () => 1) }, { prefix: '/sibling' })
  await app.register(async (scope) => {
    scope.get('/early', async () => 1)
    addSection(scope, wordSection('w', [], 'headers'), 'base')
  }, { prefix: '/child' })
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: { length: 1, 0: { path: 'GET,HEAD /child/early' } },
  })
})

test('an earlier route of a scope without a prefix is never served', async (t) => {
  const app = build(t)
  const trace: string[] = []
  await app.register(async (scope) => {
    scope.get('/early', async () => { t.fail('served'); return 1 })
    addSection(scope, wordSection('w', trace, 'headers'), 'base')
    scope.get('/late', async () => 1)
  })
  app.get('/other', async () => 1)
  t.equal((await app.inject('/early')).statusCode, 500)
  t.equal((await app.inject('/late')).statusCode, 200)
  t.equal((await app.inject('/other')).statusCode, 200)
  t.same(trace, ['w=base', 'w=base'], 'the refusal has the headers of its scope, too; the neighbour has none')
})

test('a plugin of a parent holds for a child that has one of its own, once for each request', async (t) => {
  const app = build(t)
  const trace: string[] = []
  await app.register(async (scope) => {
    addSection(scope, wordSection('child', trace, 'headers'), 'own')
    scope.get('/child', async () => 1)
  })
  addSection(app, wordSection('parent', trace, 'cors'), 'base')
  app.get('/', async () => 1)
  await app.inject('/child')
  await app.inject('/')
  t.same(trace, ['child=own', 'parent=base', 'parent=base'])
})

test('the same plugin twice in one scope is refused, in a child scope it is not', async (t) => {
  const app = build(t)
  claimRegistration(app, 'x')
  t.throws(() => { claimRegistration(app, 'x') }, { code: 'BULWARK_CONFIG', problems: [{ path: 'x' }] })
  await app.register(async (scope) => { t.doesNotThrow(() => { claimRegistration(scope, 'x') }) })
})

test('a key of a plugin that is turned off is refused unless it asks for nothing', async (t) => {
  const app = build(t)
  turnOff(app, 'auth', (input) => input === 'nothing')
  app.get('/a', security({ auth: 'nothing' }), async () => 1)
  app.get('/b', security({ auth: false }), async () => 1)
  app.get('/c', security({ auth: { roles: ['admin'] } }), async () => 1)
  await t.rejects(async () => app.ready(), {
    code: 'BULWARK_CONFIG',
    problems: { length: 1, 0: { path: 'GET /c security.auth' } },
  })
})

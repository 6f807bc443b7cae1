import Fastify from 'fastify'
import { test } from 'tap'
import { bulwark, createServer, defineSecurity, serverOptions, Type, type SecurityDefinition } from '../index.js'

interface Counted {
  readonly definition: SecurityDefinition
  /** How often each variable of the environment was read. */
  readonly variables: Map<string, number>
  /** How often each function of the app was asked. */
  readonly asked: Map<string, number>
}

/** Counts how often each value is read. */
function counting<T extends object> (target: T, counts: Map<string, number>): T {
  return new Proxy(target, {
    get (object, key, receiver): unknown {
      const value: unknown = Reflect.get(object, key, receiver)
      if (typeof key === 'string') counts.set(key, (counts.get(key) ?? 0) + 1)
      return value
    },
  })
}

function counted (): Counted {
  const variables = new Map<string, number>()
  const asked = new Map<string, number>()
  const count = (name: string): void => { asked.set(name, (asked.get(name) ?? 0) + 1) }
  const source = counting<Record<string, string>>({ NODE_ENV: 'test', PORT: '3000' }, variables)
  const secret = Type.String({ secret: true, generate: true })
  const definition = defineSecurity({
    env: {
      schema: Type.Object({
        PORT: Type.Integer(),
        JWT_ACCESS_SECRET: secret,
        JWT_REFRESH_SECRET: secret,
      }),
      source,
    },
    cors: { origin: () => { count('origin'); return true } },
    auth: {
      roles: ['user'],
      authenticate: async () => ({ id: 'u', roles: ['user'] as const }),
      loadUser: async (id) => ({ id, roles: ['user'] as const }),
      label: () => { count('label'); return 'a' },
    },
  })
  return { definition, variables, asked }
}

type Logger = false | { readonly stream: { write (line: string): void } }
interface Started { readonly config: unknown, close (): unknown }

const WAYS: Readonly<Record<string, (definition: SecurityDefinition, logger?: Logger) => Promise<Started>>> = {
  createServer: async (definition, logger = false) => createServer(definition, { logger }),
  'serverOptions and register': async (definition, logger = false) => {
    const app = Fastify(serverOptions(definition, { logger }))
    await app.register(bulwark, definition)
    return app
  },
}

for (const [way, start] of Object.entries(WAYS)) {
  test(`${way}: one boot reads the environment once and asks an origin function once`, async (t) => {
    const once = counted()
    const app = await start(once.definition)
    t.teardown(() => app.close())
    const first = new Map(once.variables)
    t.ok((first.get('PORT') ?? 0) > 0, 'the environment was read')
    const second = await start(once.definition)
    t.teardown(() => second.close())
    for (const [name, count] of once.variables) {
      t.equal(count, 2 * (first.get(name) ?? 0), `${name}: a second boot reads it as often as the first`)
    }
    // It is asked once whether it answers at once: a promise would let every origin through.
    t.same([...once.asked], [['origin', 1]], 'an origin function is asked once, no other function at all')
  })

  test(`${way}: a generated secret is made once for each boot`, async (t) => {
    const { definition } = counted()
    const lines: string[] = []
    const stream = { write: (line: string): void => { lines.push(line) } }
    const app = await start(definition, { stream })
    t.teardown(() => app.close())
    const made = lines.filter((line) => line.includes('random ones were generated'))
    t.equal(made.length, 1)
    const secrets = app.config as Record<string, string>
    t.not(secrets['JWT_ACCESS_SECRET'], secrets['JWT_REFRESH_SECRET'])
  })
}

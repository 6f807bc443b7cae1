import type { FastifyInstance } from 'fastify'
import { test } from 'tap'
import { cors, type CorsOptions } from '../../plugins/cors.js'
import { instance, official } from '../helpers/differential.js'

const theirCors = official('@fastify/cors')

const APP = 'https://app.example.com'
const ADMIN = 'https://admin.example.com'
const EVIL = 'https://evil.example'

/** `undefined` asks without an Origin header. */
const ASKING = [
  undefined,
  APP,
  ADMIN,
  EVIL,
  'null',
  '',
  APP.toUpperCase(),
  `${APP}:443`,
  `${APP}.`,
  `${APP}/`,
  `${APP}:8443`,
  'http://app.example.com',
  `${APP}.evil.example`,
  'https://app.example.community',
  'https://xapp.example.com',
] as const

interface Source {
  readonly ours: NonNullable<CorsOptions['origin']>
  readonly theirs: unknown
  readonly allows: readonly string[] | '*'
}

const LABEL = /^https:\/\/[a-z0-9-]+\.example\.com$/

const SOURCES: readonly Source[] = [
  { ours: false, theirs: false, allows: [] },
  { ours: [], theirs: false, allows: [] },
  { ours: [APP], theirs: [APP], allows: [APP] },
  { ours: [APP, ADMIN], theirs: [APP, ADMIN], allows: [APP, ADMIN] },
  { ours: ['https://*.example.com'], theirs: LABEL, allows: [APP, ADMIN, 'https://xapp.example.com'] },
  {
    ours: [ADMIN, 'https://*.example.com:8443'],
    theirs: [ADMIN, /^https:\/\/[a-z0-9-]+\.example\.com:8443$/],
    allows: [ADMIN, `${APP}:8443`],
  },
  {
    ours: (origin) => origin === APP,
    theirs: (origin: string, done: (error: null, allowed: boolean) => void) => {
      done(null, origin === APP)
    },
    allows: [APP],
  },
  { ours: '*', theirs: '*', allows: '*' },
]

interface Pair { readonly source: Source, readonly ours: CorsOptions, readonly theirs: object }

function grid (): Pair[] {
  const pairs: Pair[] = []
  for (const source of SOURCES) {
    for (const credentials of source.ours === '*' ? [false] : [false, true]) {
      for (const allowed of [[], ['Content-Type', 'X-Thing']]) {
        // These take turns over the product of the others, each with a period of its own.
        const exposed = [[], ['X-Total', 'ETag'], ['X-Total'], [], ['ETag']][pairs.length % 5] ?? []
        const maxAge = [0, 600, 86_400][pairs.length % 3] ?? 0
        const both = { credentials, allowedHeaders: allowed, maxAge, methods: ['GET', 'HEAD', 'POST', 'DELETE'] }
        pairs.push({
          source,
          ours: { ...both, origin: source.ours, exposedHeaders: exposed },
          theirs: { ...both, origin: source.theirs, exposedHeaders: exposed.length === 0 ? null : exposed },
        })
      }
    }
  }
  return pairs
}

type Headers = Readonly<Record<string, string | number | string[] | undefined>>
interface Question {
  readonly origin: string | undefined
  readonly method: string
  readonly names: string | undefined
  readonly credentialed: boolean
}

const set = (value: Headers[string]): string[] =>
  String(value ?? '').split(',').map((name) => name.trim().toLowerCase()).filter((name) => name !== '').sort()

/** Fetch, sections 4.9 and 4.10: what a browser makes of an answer to a preflight. */
function browserGoesOn (status: number, sent: Headers, { origin, method, names, credentialed }: Question): boolean {
  if (status < 200 || status > 299 || !browserReads(sent, origin, credentialed)) return false
  const safe = ['GET', 'HEAD', 'POST'].includes(method)
  const methods = String(sent['access-control-allow-methods'] ?? '').split(',').map((name) => name.trim())
  const allowed = set(sent['access-control-allow-headers'])
  return (safe || methods.includes(method)) && set(names).every((name) => allowed.includes(name))
}

/** Fetch, section 4.10: whether the page gets to see the answer. */
function browserReads (sent: Headers, origin: string | undefined, credentialed: boolean): boolean {
  const allowed = sent['access-control-allow-origin']
  if (!credentialed && allowed === '*') return true
  return allowed !== undefined && allowed === origin &&
    (!credentialed || sent['access-control-allow-credentials'] === 'true')
}

/** What a CORS answer says, whatever its spelling. */
function meaning (sent: Headers): object {
  const {
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': credentials,
    'access-control-max-age': maxAge,
  } = sent
  return {
    origin,
    credentials,
    maxAge,
    exposed: set(sent['access-control-expose-headers']),
    allowed: set(sent['access-control-allow-headers']),
  }
}

function corsHeaders (sent: Headers): string[] {
  return Object.keys(sent).filter((name) => name.startsWith('access-control-'))
}

async function service (app: FastifyInstance, plugin: typeof theirCors, options: object): Promise<FastifyInstance> {
  await app.register(plugin, options)
  app.get('/items', async () => 1)
  app.post('/items', async () => 1)
  app.delete('/items/:id', async () => 1)
  return app
}

const isAllowed = ({ allows }: Source, origin: string | undefined): boolean =>
  allows === '*' || (origin !== undefined && allows.includes(origin))
const originOf = (origin: string | undefined): Record<string, string> => origin === undefined ? {} : { origin }

test('over a grid of options an allowed origin reads the same grant, and any other gets nothing at all', async (t) => {
  const pairs = grid()
  t.ok(pairs.length >= 26, `${pairs.length} combinations`)
  for (const { source, ours, theirs } of pairs) {
    const [own, other] = [await service(instance(t), cors, ours), await service(instance(t), theirCors, theirs)]
    const wrong: unknown[] = []
    for (const origin of ASKING) {
      for (const method of ['GET', 'POST'] as const) {
        const request = { method, url: '/items', headers: originOf(origin) }
        const [a, b] = [(await own.inject(request)).headers, (await other.inject(request)).headers]
        const agree = isAllowed(source, origin)
          ? JSON.stringify(meaning(a)) === JSON.stringify(meaning(b))
          : corsHeaders(a).length === 0
        const varies = set(a.vary).includes('origin') === set(b.vary).includes('origin')
        const reads = [false, true].every((credentialed) =>
          browserReads(a, origin, credentialed) === browserReads(b, origin, credentialed)
        )
        if (!agree || !varies || (!reads && origin !== undefined)) wrong.push({ origin, method, a, b })
      }
    }
    t.strictSame(wrong, [], JSON.stringify(theirs))
  }
})

test('over the same grid a browser comes to the same verdict on every preflight', async (t) => {
  let [asked, granted] = [0, 0]
  for (const { source, ours, theirs } of grid()) {
    const [own, other] = [await service(instance(t), cors, ours), await service(instance(t), theirCors, theirs)]
    const wrong: unknown[] = []
    for (const origin of ASKING.filter((text) => text !== undefined && text !== '')) {
      for (const [method, url] of [['POST', '/items'], ['DELETE', '/items/7']] as const) {
        for (const names of [undefined, 'content-type,x-thing', 'content-type, x-evil']) {
          const request = {
            method: 'OPTIONS' as const,
            url,
            headers: {
              origin,
              'access-control-request-method': method,
              ...(names !== undefined && { 'access-control-request-headers': names }),
            },
          }
          const [a, b] = [await own.inject(request), await other.inject(request)]
          const verdicts = [false, true].map((credentialed) =>
            [a, b].map((answer) =>
              browserGoesOn(answer.statusCode, answer.headers, { origin, method, names, credentialed })
            )
          )
          const agree = verdicts.every(([first, second]) => first === second)
          const same = a.statusCode === 204
            ? isAllowed(source, origin) &&
              JSON.stringify(meaning({ ...a.headers, 'access-control-expose-headers': '' })) ===
                JSON.stringify(meaning({ ...b.headers, 'access-control-expose-headers': '' })) &&
              set(a.headers.vary).includes('origin')
            : a.statusCode === 403 && corsHeaders(a.headers).length === 0
          if (!agree || !same) {
            wrong.push({ origin, method, names, verdicts, a: [a.statusCode, a.headers], b: [b.statusCode, b.headers] })
          }
          asked++
          if (verdicts.some(([first]) => first)) granted++
        }
      }
    }
    t.strictSame(wrong, [], JSON.stringify(theirs))
  }
  t.ok(granted > 100 && asked - granted > 300, `${granted} of ${asked} are granted`)
})

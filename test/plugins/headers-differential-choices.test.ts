import Fastify, { type FastifyInstance } from 'fastify'
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { test, type Test } from 'tap'
import { headers } from '../../plugins/headers.js'
import { instance, official, OVER_HTTPS } from '../helpers/differential.js'

/** Counted from before either plugin is loaded, because both keep the functions that they found then. */
let draws = 0
const counted = <F extends (...args: never[]) => unknown>(draw: F): F =>
  new Proxy(draw, {
    apply (target, self, args) {
      draws++
      return Reflect.apply(target, self, args) as unknown
    },
  })
crypto.randomBytes = counted(crypto.randomBytes)
crypto.randomFillSync = counted(crypto.randomFillSync)
syncBuiltinESMExports()

const helmet = official('@fastify/helmet')
const DEFAULTS: object = { referrerPolicy: false }

const NONE = "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'"
const CSP = 'content-security-policy'

/** Header values of one request; absent ones are undefined. */
async function sent (
  app: FastifyInstance,
  names: readonly string[],
  request: { url?: string, headers?: Record<string, string> } = {},
): Promise<unknown[]> {
  const { headers: all } = await app.inject({ url: '/', ...request })
  return names.map((name) => all[name])
}

interface Choice {
  /** What the suite decided otherwise. */
  readonly name: string
  readonly theirs: (app: FastifyInstance) => Promise<unknown>
  readonly expectTheirs: unknown
  readonly ours: (app: FastifyInstance) => Promise<unknown>
  readonly expectOurs: unknown
}

const page = async (
  app: FastifyInstance,
  plugin: typeof helmet,
  options: object,
  route: object = {},
): Promise<void> => {
  await app.register(plugin, options)
  app.route({ method: 'GET', url: '/', handler: async () => '', ...route })
}

const CHOICES: readonly Choice[] = [
  {
    name: "a route's CSP changes the app's by directive instead of replacing it with helmet's own defaults",
    theirs: async (app) => {
      await page(app, helmet, { contentSecurityPolicy: { useDefaults: false, directives: { 'default-src': ["'none'"], 'base-uri': ["'none'"], 'form-action': ["'none'"], 'frame-ancestors': ["'none'"] } } }, { helmet: { contentSecurityPolicy: { directives: { 'img-src': ['data:'] } } } })
      return sent(app, [CSP])
    },
    expectTheirs: ["default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';img-src data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests"],
    ours: async (app) => { await page(app, headers, {}, { security: { headers: { contentSecurityPolicy: { directives: { 'img-src': ['data:'] } } } } }); return sent(app, [CSP]) },
    expectOurs: [`${NONE};img-src data:`],
  },
  {
    name: "a route's HSTS changes the leaves that it names and keeps the others",
    theirs: async (app) => {
      await page(app, helmet, { strictTransportSecurity: { maxAge: 60, includeSubDomains: false } }, {
        helmet: { strictTransportSecurity: { maxAge: 120 } },
      })
      return sent(app, ['strict-transport-security'], { headers: OVER_HTTPS })
    },
    expectTheirs: ['max-age=120; includeSubDomains'],
    ours: async (app) => {
      await page(app, headers, { strictTransportSecurity: { maxAge: 60, includeSubDomains: false } }, {
        security: { headers: { strictTransportSecurity: { maxAge: 120 } } },
      })
      return sent(app, ['strict-transport-security'], { headers: OVER_HTTPS })
    },
    expectOurs: ['max-age=120'],
  },
  {
    name: "the nonce stands beside 'self', however the sources were written; text instead of a list is refused",
    theirs: async (app) => {
      await page(app, helmet, {
        enableCSPNonces: true,
        contentSecurityPolicy: { useDefaults: false, directives: { 'default-src': ["'none'"], scriptSrc: "'self'" } },
      })
      return (await sent(app, [CSP])).map((value) => String(value).replaceAll(/nonce-[0-9a-f]+/g, 'nonce-N'))
    },
    expectTheirs: ["default-src 'none';script-src 'nonce-N';style-src 'nonce-N'"],
    ours: async (app) => {
      await app.register(headers, { contentSecurityPolicy: { directives: { 'script-src': ["'self'", "'nonce'"] } } })
      app.get('/', async (_request, reply) => reply.cspNonce)
      const { headers: all, body } = await app.inject('/')
      const refused = await instanceError(Fastify(), {
        contentSecurityPolicy: { directives: { 'script-src': "'self'" } },
      })
      return [String(all[CSP]).replaceAll(body, 'N'), refused]
    },
    expectOurs: [`${NONE};script-src 'self' 'nonce-N'`, 'BULWARK_CONFIG'],
  },
  {
    name: 'randomness is drawn only where a nonce is read, and for many at once',
    theirs: async (app) => { await page(app, helmet, { enableCSPNonces: true }); return drawn(app) },
    expectTheirs: { json: 512, page: 512 },
    ours: async (app) => { await page(app, headers, { profile: 'document' }); return drawn(app) },
    expectOurs: { json: 0, page: 1 },
  },
  {
    name: 'a child scope can remove a header',
    theirs: async (app) => {
      await app.register(helmet)
      await app.register(async (scope) => {
        await page(scope, helmet, { xFrameOptions: false, referrerPolicy: false })
      })
      return sent(app, ['x-frame-options', 'referrer-policy'])
    },
    expectTheirs: ['SAMEORIGIN', 'no-referrer'],
    ours: async (app) => {
      await app.register(headers)
      await app.register(async (scope) => {
        await page(scope, headers, { xFrameOptions: false, referrerPolicy: false })
      })
      return sent(app, ['x-frame-options', 'referrer-policy'])
    },
    expectOurs: [undefined, undefined],
  },
  {
    name: 'HSTS and upgrades to HTTPS go out over HTTPS only, and never for a loopback name',
    theirs: async (app) => { await page(app, helmet, {}); return schemes(app) },
    expectTheirs: [[true, true], [true, true], [true, true]],
    ours: async (app) => { await page(app, headers, { profile: 'document' }); return schemes(app) },
    expectOurs: [[false, false], [false, false], [true, true]],
  },
  {
    name: 'powerful features are denied by Permissions-Policy',
    theirs: async (app) => { await page(app, helmet, {}); return sent(app, ['permissions-policy']) },
    expectTheirs: [undefined],
    ours: async (app) => {
      await page(app, headers, {})
      return (await sent(app, ['permissions-policy'])).map((value) =>
        /camera=\(\), .*geolocation=\(\)/.test(String(value))
      )
    },
    expectOurs: [true],
  },
  {
    name: 'an answer by a hook that ran before the plugin carries the headers',
    theirs: async (app) => {
      app.addHook('onRequest', async (_request, reply) => reply.code(503).send(''))
      await page(app, helmet, {})
      return sent(app, [CSP, 'x-frame-options'])
    },
    expectTheirs: [undefined, undefined],
    ours: async (app) => {
      app.addHook('onRequest', async (_request, reply) => reply.code(503).send(''))
      await page(app, headers, {})
      return sent(app, [CSP, 'x-frame-options'])
    },
    expectOurs: [NONE, 'DENY'],
  },
  {
    name: 'a misspelt option stops the boot instead of having no effect',
    theirs: async (app) => { await page(app, helmet, { xFrameOption: false }); return sent(app, ['x-frame-options']) },
    expectTheirs: ['SAMEORIGIN'],
    ours: async (app) => instanceError(app, { xFrameOption: false }),
    expectOurs: 'BULWARK_CONFIG',
  },
  {
    name: 'registered twice in one scope it is refused, instead of working twice with the last one winning',
    theirs: async (app) => {
      await page(app, helmet, { xFrameOptions: { action: 'deny' } })
      await app.register(helmet, DEFAULTS)
      return sent(app, ['x-frame-options', 'referrer-policy'])
    },
    expectTheirs: ['SAMEORIGIN', 'no-referrer'],
    ours: async (app) => { await app.register(headers); return instanceError(app, {}) },
    expectOurs: 'BULWARK_CONFIG',
  },
  {
    name: 'answers with a credential or an error are not stored',
    theirs: async (app) => {
      await page(app, helmet, {})
      return [
        ...await sent(app, ['cache-control'], { headers: { cookie: 'a=b' } }),
        ...await sent(app, ['cache-control'], { url: '/nope' }),
      ]
    },
    expectTheirs: [undefined, undefined],
    ours: async (app) => {
      await page(app, headers, {})
      return [
        ...await sent(app, ['cache-control'], { headers: { cookie: 'a=b' } }),
        ...await sent(app, ['cache-control'], { url: '/nope' }),
      ]
    },
    expectOurs: ['no-store', 'no-store'],
  },
  {
    name: "the header of Internet Explorer's download dialog is left out",
    theirs: async (app) => { await page(app, helmet, {}); return sent(app, ['x-download-options']) },
    expectTheirs: ['noopen'],
    ours: async (app) => { await page(app, headers, {}); return sent(app, ['x-download-options']) },
    expectOurs: [undefined],
  },
  {
    name: 'headers that have one safe value have no option',
    theirs: async (app) => {
      await page(app, helmet, {
        xDnsPrefetchControl: { allow: true },
        xXssProtection: false,
        xPermittedCrossDomainPolicies: { permittedPolicies: 'all' },
      })
      return sent(app, ['x-dns-prefetch-control', 'x-xss-protection', 'x-permitted-cross-domain-policies'])
    },
    expectTheirs: ['on', undefined, 'all'],
    ours: async (app) => {
      await page(app, headers, {})
      return sent(app, ['x-dns-prefetch-control', 'x-xss-protection', 'x-permitted-cross-domain-policies'])
    },
    expectOurs: ['off', '0', 'none'],
  },
  {
    name: 'a preload that the list would not take stops the boot',
    theirs: async (app) => {
      await page(app, helmet, { strictTransportSecurity: { maxAge: 60, includeSubDomains: false, preload: true } })
      return sent(app, ['strict-transport-security'])
    },
    expectTheirs: ['max-age=60; preload'],
    ours: async (app) =>
      instanceError(app, { strictTransportSecurity: { maxAge: 60, includeSubDomains: false, preload: true } }),
    expectOurs: 'BULWARK_CONFIG',
  },
  {
    name: 'a hijacked reply hands its headers over to whoever writes it, also those set on the reply',
    theirs: async (app) => {
      await app.register(helmet)
      hijacks(app)
      return sent(app, ['x-frame-options', 'x-mine'])
    },
    expectTheirs: ['SAMEORIGIN', undefined],
    ours: async (app) => { await app.register(headers); hijacks(app); return sent(app, ['x-frame-options', 'x-mine']) },
    expectOurs: ['DENY', '1'],
  },
]

/** The code of the error that a registration ends with. */
async function instanceError (app: FastifyInstance, options: object): Promise<unknown> {
  return app.register(headers, options).then(() => 'started', (error: unknown) => (error as { code?: unknown }).code)
}

/** How often 256 answers draw from the system's randomness: such that read no nonce, and such that do. */
async function drawn (app: FastifyInstance): Promise<{ json: number, page: number }> {
  app.get('/page', async (_request, reply) => JSON.stringify(reply.cspNonce))
  await app.ready()
  const [start, json] = [draws, await after(app, '/')]
  return { json: json - start, page: await after(app, '/page') - json }
}

async function after (app: FastifyInstance, url: string): Promise<number> {
  for (let turn = 0; turn < 256; turn++) await app.inject(url)
  return draws
}

/** Whether HSTS and upgrade-insecure-requests go out: over plain HTTP, over HTTPS to a loopback name, over HTTPS. */
async function schemes (app: FastifyInstance): Promise<boolean[][]> {
  const requests = [{ host: 'www.example.com' }, { host: 'localhost:3000', 'x-forwarded-proto': 'https' }, OVER_HTTPS]
  const answers: boolean[][] = []
  for (const request of requests) {
    const [hsts, csp] = await sent(app, ['strict-transport-security', CSP], { headers: request })
    answers.push([hsts !== undefined, String(csp).includes('upgrade-insecure-requests')])
  }
  return answers
}

function hijacks (app: FastifyInstance): void {
  app.get('/', (_request, reply) => {
    reply.header('x-mine', '1').hijack()
    reply.raw.end('x')
  })
}

for (const { name, theirs, expectTheirs, ours, expectOurs } of CHOICES) {
  test(name, async (t: Test) => {
    t.strictSame(await theirs(instance(t)), expectTheirs, '@fastify/helmet')
    t.strictSame(await ours(instance(t)), expectOurs, 'ours')
  })
}

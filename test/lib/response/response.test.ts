import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { get, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { test, type Test } from 'tap'
import { prepareHeaders } from '../../../lib/response/headers.js'
import { PreparedResponse } from '../../../lib/response/response.js'
import { cors } from '../../../plugins/cors.js'
import { headers } from '../../../plugins/headers.js'

const ORIGIN = 'https://app.example.com'

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** What an app may do with its headers; each must leave both kinds of server with the same lines. */
const HANDLERS: Readonly<Record<string, Handler>> = {
  'a JSON body': async () => ({ ok: true }),
  'no body': async (_request, reply) => reply.code(204).send(),
  'not modified': async (_request, reply) => reply.code(304).send(),
  'a redirect': async (_request, reply) => reply.redirect('/elsewhere'),
  'a stream': async (_request, reply) => reply.type('text/plain').send(Readable.from(['a', 'b'])),
  'a web stream': async () => new Response('body', { headers: { 'x-own': '1', 'x-frame-options': 'SAMEORIGIN' } }),
  'an error': async () => { throw new Error('broken') },
  'a header of its own': async (_request, reply) => reply.header('X-Own', '1').send('x'),
  'another value': async (_request, reply) => reply.header('X-Frame-Options', 'SAMEORIGIN').send('x'),
  'another value of CORS': async (_request, reply) => reply.header('Access-Control-Expose-Headers', 'X-Own').send('x'),
  'what discloses the server': async (_request, reply) =>
    reply.headers({ Server: 'x/1', 'X-Powered-By': 'y' }).send('x'),
  'what discloses the server beside a stream': async (_request, reply) =>
    reply.headers({ Server: 'x/1', 'X-Powered-By': 'y' }).send(Readable.from(['a'])),
  'several cookies': async (_request, reply) =>
    reply.header('set-cookie', ['a=1', 'b=2']).header('set-cookie', 'c=3').send('x'),
  'a header removed': async (_request, reply) => reply.removeHeader('X-Frame-Options').send('x'),
  'a header removed and set again': async (_request, reply) => {
    reply.removeHeader('X-Frame-Options').header('x-frame-options', 'SAMEORIGIN')
    return 'x'
  },
  'CORS removed': async (_request, reply) => reply.removeHeader('access-control-allow-origin').send('x'),
  'an unknown header removed': async (_request, reply) => reply.removeHeader('constructor').send('x'),
  'what is set, read': async (_request, reply) => ({
    got: reply.getHeader('X-Frame-Options'),
    has: reply.hasHeader('x-frame-options'),
    cors: reply.getHeader('access-control-allow-origin'),
    missing: reply.getHeader('constructor') ?? null,
    hasNot: reply.hasHeader('toString'),
    all: Object.keys(reply.getHeaders()).sort(),
  }),
  'a removed header, read': async (_request, reply) => {
    reply.removeHeader('x-frame-options')
    return { has: reply.hasHeader('x-frame-options'), all: Object.keys(reply.getHeaders()).includes('x-frame-options') }
  },
  'a raw header': async (_request, reply) => {
    reply.raw.setHeader('X-Own', '1')
    return 'x'
  },
  'a raw header beside a stream': async (_request, reply) => {
    reply.raw.setHeader('x-own', '1')
    return reply.type('text/plain').send(Readable.from(['a']))
  },
  'hijacked, written by writeHead': async (_request, reply) => {
    reply.hijack().raw.writeHead(200, { 'X-Own': '1', 'X-Frame-Options': 'SAMEORIGIN' }).end('x')
  },
  'hijacked, with a reason': async (_request, reply) => {
    reply.hijack().raw.writeHead(200, 'Fine', { 'content-type': 'text/plain' }).end('x')
  },
  'hijacked, ended at once': async (_request, reply) => {
    reply.hijack().raw.end('x')
  },
  'hijacked, piped into': async (_request, reply) => {
    Readable.from(['a', 'b']).pipe(reply.hijack().raw)
  },
  'hijacked, appended to': async (_request, reply) => {
    reply.hijack().raw.appendHeader('x-frame-options', 'SAMEORIGIN').end('x')
  },
  'hijacked, removed': async (_request, reply) => {
    const { raw } = reply.hijack()
    raw.removeHeader('x-frame-options')
    raw.end('x')
  },
}

const pathOf = (name: string): string => `/${name.replaceAll(/\W+/g, '-')}`

async function serve (
  t: Test,
  Response: typeof ServerResponse,
  before: (app: FastifyInstance) => void = () => {},
  after: (app: FastifyInstance) => void = () => {},
): Promise<string> {
  const app = Fastify({ http: { ServerResponse: Response } })
  before(app)
  await app.register(headers)
  await app.register(cors, { origin: [ORIGIN], credentials: true })
  for (const [name, handler] of Object.entries(HANDLERS)) app.get(pathOf(name), handler)
  after(app)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}

interface Answer {
  readonly status: number
  readonly reason: string
  readonly lines: readonly string[]
  readonly body: string
}

async function ask (base: string, name: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    get(base + pathOf(name), { agent: false, headers: { origin: ORIGIN } }, (response) => {
      const lines: string[] = []
      for (let at = 0; at < response.rawHeaders.length; at += 2) {
        const [field = '', value = ''] = response.rawHeaders.slice(at, at + 2)
        if (field.toLowerCase() !== 'date') lines.push(`${field.toLowerCase()}: ${value}`)
      }
      response.setEncoding('utf8')
      let body = ''
      response.on('data', (chunk: string) => {
        body += chunk
      }).on('error', reject)
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, reason: response.statusMessage ?? '', lines: lines.sort(), body })
      })
    }).on('error', reject)
  })
}

const fields = (lines: readonly string[]): string[] =>
  lines.map((line) => line.slice(0, line.indexOf(':'))).filter((field) => field !== 'set-cookie')

test('a server with prepared responses sends what any other sends, and no header twice', async (t) => {
  const [prepared, plain] = [await serve(t, PreparedResponse), await serve(t, ServerResponse)]
  for (const name of Object.keys(HANDLERS)) {
    const [fast, slow] = [await ask(prepared, name), await ask(plain, name)]
    t.strictSame(fast, slow, name)
    t.not(fast.status, 404, `${name}: the handler ran`)
    t.equal(
      new Set(fields(fast.lines)).size + (name === 'hijacked, appended to' ? 1 : 0),
      fields(fast.lines).length,
      `${name}: no header twice`,
    )
    t.ok(fast.lines.some((line) => line.startsWith('content-security-policy: ')), `${name}: the policy is sent`)
  }
})

test('what an app set before the plugin ran stays on both', async (t) => {
  const before = (app: FastifyInstance): void => {
    app.addHook('onRequest', (_request, reply, done) => {
      reply.header('X-Frame-Options', 'SAMEORIGIN')
      done()
    })
  }
  for (const Response of [PreparedResponse, ServerResponse]) {
    const { lines } = await ask(await serve(t, Response, before), 'a JSON body')
    t.ok(lines.includes('x-frame-options: SAMEORIGIN'))
    t.notOk(lines.includes('x-frame-options: DENY'))
  }
})

test('an answer to which the app gave a header that cannot be sent keeps the prepared ones', async (t) => {
  const base = await serve(t, PreparedResponse, () => {}, (app) => {
    app.get('/broken', async (_request, reply) => reply.header('x-own', 'a\r\nx-injected: 1').send('x'))
  })
  const { status, lines } = await ask(base, 'broken')
  t.equal(status, 500)
  t.ok(lines.some((line) => line.startsWith('content-security-policy: ')))
  t.notOk(lines.some((line) => line.includes('injected')))
})

test('raw heads in every form that Node takes carry the prepared headers beneath their own', async (t) => {
  const set = prepareHeaders({ 'X-One': 'a', 'x-two': 'b' })
  const more = prepareHeaders({ 'x-three': 'c' })
  type Raw = PreparedResponse
  const forms: Record<string, (raw: Raw, request: FastifyRequest) => void> = {
    'no headers': (raw) => {
      raw.writeHead(200)
    },
    'an object': (raw) => {
      raw.writeHead(200, { 'X-Two': 'own' })
    },
    'a flat list': (raw) => {
      raw.writeHead(200, ['X-Two', 'own', 'x-four', 'd'])
    },
    'pairs': (raw) => {
      raw.writeHead(200, [['X-Two', 'own'], ['x-four', 'd']] as unknown as string[])
    },
    'set beforehand': (raw) => {
      raw.setHeader('x-two', 'own')
      raw.writeHead(200, { 'x-four': 'd' })
    },
    'set beforehand, then a list': (raw) => {
      raw.setHeader('x-two', 'own')
      raw.writeHead(200, ['X-Three', 'own'])
    },
    'a third set': (raw) => {
      raw.setPreparedHeaders(prepareHeaders({ 'x-one': 'late', 'x-three': 'late' }))
      raw.writeHead(200)
    },
    'removed at last, of a list': (raw, request) => {
      raw.finishWith([(head) => { head.remove('server') }], request)
      raw.writeHead(200, ['Server', 'own', 'x-four', 'd'])
    },
    'removed at last, of pairs': (raw, request) => {
      raw.finishWith([(head) => { head.remove('server') }], request)
      raw.writeHead(200, [['Server', 'own'], ['x-four', 'd']] as unknown as string[])
    },
    'flushed': (raw) => {
      raw.flushHeaders()
    },
    'names': (raw) => {
      raw.setHeader('x-names', raw.getHeaderNames().join(' '))
    },
  }
  const expected: Record<string, string[]> = {
    'no headers': ['x-one: a', 'x-three: c', 'x-two: b'],
    'an object': ['x-one: a', 'x-three: c', 'x-two: own'],
    'a flat list': ['x-four: d', 'x-one: a', 'x-three: c', 'x-two: own'],
    'pairs': ['x-four: d', 'x-one: a', 'x-three: c', 'x-two: own'],
    'set beforehand': ['x-four: d', 'x-one: a', 'x-three: c', 'x-two: own'],
    'set beforehand, then a list': ['x-one: a', 'x-three: own', 'x-two: own'],
    'a third set': ['x-one: late', 'x-three: late', 'x-two: b'],
    'removed at last, of a list': ['x-four: d', 'x-one: a', 'x-three: c', 'x-two: b'],
    'removed at last, of pairs': ['x-four: d', 'x-one: a', 'x-three: c', 'x-two: b'],
    'flushed': ['x-one: a', 'x-three: c', 'x-two: b'],
    'names': ['x-names: x-one x-two x-three', 'x-one: a', 'x-three: c', 'x-two: b'],
  }
  const app = Fastify({ http: { ServerResponse: PreparedResponse } })
  for (const [name, write] of Object.entries(forms)) {
    app.get(pathOf(name), (request, reply) => {
      const raw = reply.hijack().raw as Raw
      raw.setPreparedHeaders(set)
      raw.setPreparedHeaders(more)
      write(raw, request)
      raw.end('x')
    })
  }
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  for (const name of Object.keys(forms)) {
    const { lines } = await ask(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`, name)
    t.strictSame(lines.filter((line) => line.startsWith('x-')), expected[name], name)
  }
})

test('what discloses the server never leaves a prepared response, however late and in whatever form it is set', async (t) => {
  const app = Fastify({ http: { ServerResponse: PreparedResponse } })
  await app.register(headers)
  app.addHook('onSend', async (_request, reply) => { reply.header('server', 'late/1') })
  app.get('/late', async () => 'x')
  const heads: Record<string, Handler> = {
    object: (_request, reply) => {
      reply.hijack().raw.writeHead(200, { Server: 'x/1', 'X-Own': '1' }).end('x')
    },
    list: (_request, reply) => {
      reply.hijack().raw.writeHead(200, ['Server', 'x/1', 'X-Own', '1']).end('x')
    },
    'set before, object': (_request, reply) => {
      reply.hijack().raw.setHeader('X-Powered-By', 'y').writeHead(200, { Server: 'x/1', 'X-Own': '1' }).end('x')
    },
    'set before, ended': (_request, reply) => {
      reply.hijack().raw.setHeader('X-Own', '1').setHeader('Server', 'x/1').end('x')
    },
  }
  for (const [name, handler] of Object.entries(heads)) app.get(pathOf(name), handler)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  for (const name of ['late', ...Object.keys(heads)]) {
    const { status, lines } = await ask(base, name)
    t.equal(status, 200, name)
    t.same(fields(lines).filter((field) => field === 'server' || field === 'x-powered-by'), [], name)
    t.ok(fields(lines).includes('content-security-policy'), name)
    if (name !== 'late') t.ok(lines.includes('x-own: 1'), name)
  }
})

test('refuses at boot a name or a value that no header can carry', async (t) => {
  for (
    const [name, value] of [['x y', 'a'], ['', 'a'], ['x-a', 'a\r\nb: c'], ['x-a', 'a\nb'], ['x-a', '\u0000'], [
      'x-a',
      '€',
    ]] as const
  ) {
    t.throws(() => prepareHeaders({ [name]: value }), { name: 'TypeError' }, JSON.stringify([name, value]))
  }
})

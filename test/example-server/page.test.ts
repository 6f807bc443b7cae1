import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LightMyRequestResponse } from 'fastify'
import { before, t as root, test } from 'tap'
import type { App } from '../../example-server/services.js'
import type { Database } from '../../example-server/database/database.js'
import { rawResponse } from '../helpers/raw-http.js'
import { API_HEADERS, assertHeaders } from '../helpers/headers.js'
import { codeOf, sharedDatabase, SLOW, startApp, testConfig } from './helpers.js'

root.setTimeout(SLOW.timeout)

let database: Database
let app: App

before(async () => {
  database = await sharedDatabase(root)
  app = await startApp(root, database)
})

const ASSETS = join(import.meta.dirname, '..', '..', '..', 'example-server', 'public', 'assets')
const CLIENT = join(import.meta.dirname, '..', '..', 'client')
const FILES = [...readdirSync(ASSETS), 'session.js'].sort()
const source = (file: string): string => readFileSync(join(file === 'session.js' ? CLIENT : ASSETS, file), 'utf8')

/** A visitor whose browser holds cookies, which makes an answer personal unless the service says otherwise. */
const COOKIES = { cookie: 'access=x; refresh=y' }

const get = (url: string, headers: Readonly<Record<string, string>> = {}): Promise<LightMyRequestResponse> =>
  getFrom(app, url, headers)

const getFrom = (
  server: App,
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<LightMyRequestResponse> => server.inject({ url, headers: { host: 'localhost', ...headers } })

const NONCE = /^[A-Za-z0-9+/]{24}$/

function policyOf (nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}' 'strict-dynamic'`,
    `style-src 'nonce-${nonce}'`,
    "img-src 'self'",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
    'report-uri /reports/csp',
    'report-to csp',
  ].join(';')
}

/** The tags of a document with their attributes, in order. */
function tagsOf (html: string, name: string): Record<string, string>[] {
  return [...html.matchAll(new RegExp(`<${name}\\b([^>]*)>`, 'g'))].map(([, text = '']) =>
    Object.fromEntries([...text.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].map(([, key = '', value = '']) => [key, value])))
}

function noncesOf (html: string): string[] {
  return [...html.matchAll(/nonce="([^"]*)"/g)].map(([, nonce = '']) => nonce)
}

test('the page', SLOW, async (t) => {
  await t.test('is HTML under a policy of its own, and is stored nowhere', async (t) => {
    for (const headers of [{ accept: 'text/html' }, { accept: '*/*' }, COOKIES]) {
      const res = await get('/', headers)
      t.equal(res.statusCode, 200)
      const [nonce = ''] = noncesOf(res.body)
      t.match(nonce, NONCE)
      t.equal(res.headers['reporting-endpoints'], 'csp="/reports/csp"')
      assertHeaders(t, res.headers, {
        ...API_HEADERS,
        'referrer-policy': 'strict-origin-when-cross-origin',
        'content-security-policy': policyOf(nonce),
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'set-cookie': null,
      })
    }
  })

  await t.test('has one nonce a response, never the same', async (t) => {
    const seen = new Set<string>()
    for (let i = 0; i < 20; i++) {
      const nonces = new Set(noncesOf((await get('/')).body))
      t.equal(nonces.size, 1)
      for (const nonce of nonces) seen.add(nonce)
    }
    t.equal(seen.size, 20)
  })

  await t.test('has no inline script, style or handler, and leaves no place unfilled', async (t) => {
    const html = (await get('/')).body
    t.notMatch(html, /<style|\sstyle=|\son\w+=|javascript:|data:|http-equiv|\{\{/i)
    const scripts = tagsOf(html, 'script')
    t.equal(scripts.length, 1)
    t.match(scripts[0], { type: 'module', src: '/assets/app.js', integrity: /^sha384-/, nonce: NONCE })
    t.match(html, /<script [^>]*><\/script>/, 'and nothing in it')
    t.notMatch(html, /(?:src|href|action)="(?!\/)/, 'nothing of another origin')
  })

  await t.test('loads files that are exactly what the page was made for', async (t) => {
    const html = (await get('/')).body
    const loaded = [...tagsOf(html, 'script'), ...tagsOf(html, 'link').filter(({ rel }) => rel !== 'icon')]
    t.same(loaded.map(({ src, href }) => src ?? href).sort(), [
      '/assets/api.js',
      '/assets/app.js',
      '/assets/session.js',
      '/assets/style.css',
    ])
    for (const { src, href, integrity } of loaded) {
      const served = await get(src ?? href ?? '')
      t.equal(integrity, `sha384-${createHash('sha384').update(served.rawPayload).digest('base64')}`, src ?? href ?? '')
    }
    const imports = Object.fromEntries(
      FILES.map((file) => [
        file,
        [...source(file).matchAll(/^import .* from '([^']+)'/gm)].map(([, imported]) => imported),
      ]),
    )
    t.same(imports, {
      'api.js': ['./session.js'],
      'app.js': ['./api.js'],
      'icon.svg': [],
      'session.js': [],
      'style.css': [],
    }, 'and imports no file that has no integrity here')
  })

  await t.test('answers HEAD like GET, without the body', async (t) => {
    const [head, full] = [
      await app.inject({ method: 'HEAD', url: '/', headers: { host: 'localhost' } }),
      await get('/'),
    ]
    t.equal(head.statusCode, 200)
    t.equal(head.body, '')
    t.equal(head.headers['content-length'], String(full.rawPayload.length))
    t.match(head.headers['content-security-policy'], /script-src 'nonce-[^']+' 'strict-dynamic'/)
  })

  await t.test('can send no password in a URL, and every form works on this origin only', async (t) => {
    const forms = tagsOf((await get('/')).body, 'form')
    t.same(forms.map(({ method, action }) => `${method} ${action}`).sort(), [
      'post /auth/forgot-password',
      'post /auth/login',
      'post /auth/logout',
      'post /auth/register',
      'post /auth/reset-password',
      'post /me/password',
      'post /projects',
    ])
    for (const url of ['/auth/login', '/auth/register']) {
      const res = await app.inject({
        method: 'POST',
        url,
        headers: { host: 'localhost', origin: 'http://localhost', 'content-type': 'application/x-www-form-urlencoded' },
        payload: 'email=a%40example.com&password=x',
      })
      t.equal(res.statusCode, 415, `${url}: without its script the form does nothing`)
    }
  })

  await t.test('gives every field a label and says what fills it in', async (t) => {
    const html = (await get('/')).body
    const labelled = [...html.matchAll(/<label[^>]*>(.*?)<\/label>/gs)].map(([, text]) => text).join('')
    for (const name of ['input', 'select', 'textarea']) {
      t.equal(tagsOf(labelled, name).length, tagsOf(html, name).length, name)
    }
    t.same(tagsOf(html, 'input').map(({ autocomplete }) => autocomplete), [
      'new-password',
      'username',
      'current-password',
      'username',
      'name',
      'username',
      'new-password',
      'off',
      'current-password',
      'new-password',
    ])
    t.match(html, /role="status"[^]*role="alert"/)
    t.match(html, /<html lang="en">/)
  })

  await t.test('tells the service what its policy stopped', async (t) => {
    const seen: unknown[] = []
    app.security.events.on('csp_violation', ({ directive, blocked, disposition }) => {
      seen.push({ directive, blocked, disposition })
    })
    const payload = JSON.stringify([{
      type: 'csp-violation',
      body: {
        effectiveDirective: 'script-src-elem',
        blockedURL: 'https://evil.example/x.js?token=1',
        disposition: 'enforce',
      },
    }])
    const res = await app.inject({
      method: 'POST',
      url: '/reports/csp',
      headers: { host: 'localhost', 'content-type': 'application/reports+json' },
      payload,
    })
    t.equal(res.statusCode, 204)
    t.same(seen, [{ directive: 'script-src-elem', blocked: 'https://evil.example', disposition: 'enforce' }])
  })
})

test('the page\'s files', SLOW, async (t) => {
  await t.test('are all served, with their types, to be asked for again each time', async (t) => {
    const types: Record<string, string> = {
      js: 'application/javascript; charset=utf-8',
      css: 'text/css; charset=utf-8',
      svg: 'image/svg+xml',
    }
    t.same(FILES, ['api.js', 'app.js', 'icon.svg', 'session.js', 'style.css'])
    for (const file of FILES) {
      for (const headers of [{}, COOKIES]) {
        const res = await get(`/assets/${file}`, headers)
        t.equal(res.statusCode, 200, file)
        t.equal(res.body, source(file))
        t.match(res.headers.etag, /^W\/"/)
        assertHeaders(t, res.headers, {
          'content-type': types[file.slice(file.indexOf('.') + 1)] ?? '',
          'cache-control': 'public, max-age=0',
          'cross-origin-resource-policy': 'same-origin',
          'x-content-type-options': 'nosniff',
          'content-security-policy': /^default-src 'none';/,
          'set-cookie': null,
          'access-control-allow-origin': null,
        })
      }
    }
    t.equal((await get('/favicon.ico')).body, source('icon.svg'))
  })

  await t.test('are not sent again when they have not changed, and the 304 has its headers', async (t) => {
    const { etag } = (await get('/assets/app.js')).headers
    for (const method of ['GET', 'HEAD'] as const) {
      const res = await app.inject({
        method,
        url: '/assets/app.js',
        headers: { host: 'localhost', 'if-none-match': String(etag) },
      })
      t.equal(res.statusCode, 304)
      t.equal(res.body, '')
      assertHeaders(t, res.headers, {
        ...API_HEADERS,
        'referrer-policy': /./,
        'content-security-policy': /^default-src 'none';/,
        'cache-control': 'public, max-age=0',
      })
    }
    t.equal((await get('/assets/app.js', { 'if-none-match': 'W/"other"' })).statusCode, 200)
    const head = await app.inject({ method: 'HEAD', url: '/assets/app.js', headers: { host: 'localhost' } })
    t.equal(head.headers['content-length'], String(Buffer.byteLength(source('app.js'))))
    t.equal(head.body, '')
  })

  await t.test('do not use up what the visitor may ask of the API', async (t) => {
    const { headers } = await get('/assets/app.js')
    t.equal(headers['ratelimit-policy'], '"files";q=1000;w=900')
  })

  await t.test("can be got by other origins with nobody's cookies only", async (t) => {
    t.equal(
      (await get('/assets/app.js', {
        ...COOKIES,
        'sec-fetch-site': 'cross-site',
        'sec-fetch-mode': 'no-cors',
        'sec-fetch-dest': 'script',
      })).statusCode,
      403,
    )
  })

  await t.test('are the only ones: no other spelling of a URL leads to a file', async (t) => {
    const paths = [
      '/assets',
      '/assets/',
      '/assets/.',
      '/assets/..',
      '/assets/index.html',
      '/index.html',
      '/public/index.html',
      '/assets/app.js/',
      '/assets//app.js',
      '//assets/app.js',
      '/assets/APP.JS',
      '/Assets/app.js',
      '/assets/app.js%00',
      '/assets/app.js%00.css',
      '/assets/app.js.map',
      '/assets/*',
      '/assets/%2a',
      '/assets/.env',
      '/assets/.git/config',
      '/assets/../index.html',
      '/assets/..%2findex.html',
      '/assets/..%2Findex.html',
      '/assets/%2e%2e/index.html',
      '/assets/%2e%2e%2findex.html',
      '/assets/%252e%252e%252findex.html',
      '/assets/..%5cindex.html',
      '/assets/..\\index.html',
      '/assets/....//index.html',
      '/assets/%c0%ae%c0%ae/index.html',
      '/assets/..;/index.html',
      '/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd',
      '/assets/../../../../../../etc/passwd',
      '/assets/%2fetc%2fpasswd',
      '/assets//etc/passwd',
      '/../package.json',
      '/.env',
    ]
    const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
    for (const path of paths) {
      // A socket, because a client of fetch or inject would tidy the path up before it is sent.
      const res = await rawResponse(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      t.ok(res.status === 404 || res.status === 400, `${path}: ${res.status}`)
      t.equal((JSON.parse(res.body) as { status: number }).status, res.status)
      assertHeaders(t, res.headers, {
        'content-type': /^application\/problem\+json/,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'content-security-policy': /^default-src 'none';/,
      })
    }
  })

  await t.test('are read only, and whole', async (t) => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
      t.equal(
        (await app.inject({ method, url: '/assets/app.js', headers: { host: 'localhost' } })).statusCode,
        405,
        method,
      )
    }
    t.equal((await get('/assets/app.js', { range: 'bytes=0-4' })).statusCode, 200)
  })

  await t.test('write into the document as text only, load nothing else and keep nothing', async (t) => {
    for (const file of FILES.filter((name) => name.endsWith('.js'))) {
      t.notMatch(
        source(file),
        /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|setHTML|srcdoc|DOMParser|createContextualFragment|\bimport\(|localStorage|sessionStorage|document\.cookie|https?:/,
        file,
      )
    }
    t.notMatch(source('style.css'), /@import|url\(|expression/)
    t.notMatch(source('icon.svg'), /<script|\son\w+=|style|href/)
  })
})

test('the page and its files are open, the API stays as it was', SLOW, async (t) => {
  const documents = app.security.posture().routes.filter(({ security }) =>
    security.headers !== false && security.headers?.profile === 'document'
  )
  t.same(documents.map(({ method, url }) => `${method} ${url}`).sort(), [
    ...['/', '/favicon.ico', ...FILES.map((file) => `/assets/${file}`)].flatMap((url) => [`GET ${url}`, `HEAD ${url}`])
      .sort(),
  ])
  for (const { url, security } of documents) t.equal(security.auth?.access, 'public', url)
  for (const [url, status] of [['/me', 401], ['/healthz', 200], ['/open/stats', 200]] as const) {
    const res = await get(url, { accept: 'text/html' })
    t.equal(res.statusCode, status)
    assertHeaders(t, res.headers, {
      'content-security-policy': /^default-src 'none';base-uri 'none';form-action 'none';/,
      'referrer-policy': 'no-referrer',
      'content-type': /json/,
    })
  }
})

test('security.txt', SLOW, async (t) => {
  const PATH = '/.well-known/security.txt'

  await t.test('is absent until there is a contact', async (t) => {
    const res = await get(PATH)
    t.equal(res.statusCode, 404)
    t.equal(codeOf(res), 'NOT_FOUND')
  })

  await t.test('names the contact, an end within the year, and where it belongs', async (t) => {
    const res = await getFrom(
      await startApp(t, database, {
        SECURITY_CONTACT: 'mailto:security@example.com',
        PUBLIC_ORIGIN: 'https://api.example.com',
      }),
      PATH,
    )
    t.equal(res.headers['content-type'], 'text/plain; charset=utf-8')
    const fields = new Map(res.body.trimEnd().split('\n').map((line) => line.split(/: (.*)/, 2) as [string, string]))
    t.same([...fields.keys()], ['Contact', 'Expires', 'Canonical', 'Preferred-Languages'])
    t.equal(fields.get('Contact'), 'mailto:security@example.com')
    t.equal(fields.get('Canonical'), `https://api.example.com${PATH}`)
    const days = (Date.parse(fields.get('Expires') ?? '') - Date.now()) / 86_400_000
    t.ok(days > 179 && days <= 180, String(days))
  })

  await t.test('says nothing of an origin that is not set', async (t) => {
    t.notMatch(
      (await getFrom(await startApp(t, database, { SECURITY_CONTACT: 'https://example.com/report' }), PATH)).body,
      'Canonical',
    )
  })

  for (
    const contact of [
      'security@example.com',
      'http://example.com',
      'mailto:a@example.com\nExpires: never',
      'mailto:',
      'javascript:alert(1)',
    ]
  ) {
    t.throws(() => testConfig({ SECURITY_CONTACT: contact }), { code: 'BULWARK_CONFIG' }, JSON.stringify(contact))
  }
})

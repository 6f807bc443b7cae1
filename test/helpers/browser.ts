// A real Chromium over real TLS: names of our own that resolve to this machine, and an authority that this browser
// trusts.
// Nothing runs on localhost, where browsers keep Secure cookies over HTTP and upgrade nothing.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type BrowserContext, type Page } from 'playwright-core'
import { before, t as root, test, type Test } from 'tap'
import { issueCertificate, makeAuthority, trustAuthority, type Certificate } from './certificates.js'

const WAIT_MS = 15_000
const TEST_MS = 60_000

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]

/** Where a command is on the path; null where it is not. */
function find (command: string): string | null {
  const { status, stdout } = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', command], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : null
}

const executable = process.env['CHROMIUM_PATH'] ??
  ['chromium', 'chromium-browser', 'google-chrome'].map(find).find((path) => path !== null) ?? null

/**
 * Why no browser test can run here, or false. `npm test` installs them where it may, and lets nothing be skipped in CI.
 */
function whyNot (): string | false {
  if (executable === null) return 'needs Chromium (Debian: apt-get install chromium), or its path in CHROMIUM_PATH'
  if (find('openssl') === null) return 'needs openssl (Debian: apt-get install openssl)'
  return find('certutil') === null ? 'needs certutil (Debian: apt-get install libnss3-tools)' : false
}

export interface OpenBrowser {
  /** For every host; the browser trusts it as it trusts public ones. */
  readonly certificate: Certificate
  /** A profile of its own: no cookies, no HSTS, no cache. Closed with the test. */
  readonly newContext: (t: Test) => Promise<BrowserContext>
}

/**
 * A profile that sends cookies to third parties too, as browsers do that are less careful: the suite must not count on
 * them.
 */
function profileIn (home: string): string {
  const folder = join(home, 'profile', 'Default')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'Preferences'), JSON.stringify({ profile: { cookie_controls_mode: 0 } }))
  return join(home, 'profile')
}

/** Starts a Chromium in which only `hosts` exist, all of them on loopback. Ends with `t`. */
export async function openBrowser (
  t: Pick<Test, 'teardown'>,
  hosts: readonly string[],
  flags: readonly string[] = [],
): Promise<OpenBrowser> {
  if (executable === null) throw new Error('There is no Chromium.')
  const home = mkdtempSync(join(tmpdir(), 'bulwark-browser-'))
  const authority = makeAuthority(home)
  const certificate = issueCertificate(home, authority, hosts)
  trustAuthority(home, authority)
  const rules = [...hosts.map((host) => `MAP ${host} 127.0.0.1`), 'MAP * ~NOTFOUND'].join()
  const main = await chromium.launchPersistentContext(profileIn(home), {
    executablePath: executable,
    args: [...FLAGS, ...flags, `--host-resolver-rules=${rules}`],
    env: { PATH: process.env['PATH'] ?? '', HOME: home, LANG: 'C.UTF-8' },
    timeout: TEST_MS,
  })
  const browser = main.browser()
  if (browser === null) throw new Error('Chromium has no contexts.')
  t.teardown(async () => {
    await main.close()
    rmSync(home, { recursive: true, force: true, maxRetries: 5 })
  })
  return {
    certificate,
    async newContext (owner) {
      const context = await browser.newContext()
      context.setDefaultTimeout(WAIT_MS)
      owner.teardown(() => context.close())
      return context
    },
  }
}

export interface Visit { readonly context: BrowserContext, readonly page: Page }

/**
 * Tests of one file that share a browser and what `start` makes; each has a context of its own.
 * Where a tool is missing they are skipped, and say which.
 */
export function browserTests<F extends object> (
  { hosts, flags, start }: {
    readonly hosts: readonly string[]
    readonly flags?: readonly string[]
    readonly start: (https: Certificate) => Promise<F>
  },
): (name: string, run: (t: Test, world: F & Visit) => Promise<void>) => void {
  const skip = whyNot()
  let world: { readonly fixture: F, readonly newContext: OpenBrowser['newContext'] } | null = null
  if (skip === false) {
    root.setTimeout(TEST_MS * 3)
    before(async () => {
      const { certificate, newContext } = await openBrowser(root, hosts, flags)
      world = { fixture: await start(certificate), newContext }
    })
  }
  return (name, run) => {
    void test(name, { skip, timeout: TEST_MS }, async (t) => {
      if (world === null) throw new Error('The browser did not start.')
      const context = await world.newContext(t)
      await run(t, { ...world.fixture, context, page: await context.newPage() })
    })
  }
}

export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
}

export interface Site {
  /** `https://<host>:<port>` */
  readonly at: (host: string) => string
  readonly received: readonly Received[]
}

type Answer = string | ((request: IncomingMessage, response: ServerResponse) => void)

/**
 * A plain server without any protection, under any host: by path, HTML or whatever a function answers. Ends with the
 * file.
 */
export async function serveSite (https: Certificate, answers: Readonly<Record<string, Answer>>): Promise<Site> {
  const received: Received[] = []
  const server = createServer({ key: https.key, cert: https.cert }, (request, response) => {
    const { method = '', url = '', headers } = request
    received.push({ method, url, headers })
    const answer = answers[url.split('?')[0] ?? '']
    if (typeof answer === 'function') answer(request, response)
    else {response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'text/html; charset=utf-8' }).end(
        answer,
      )}
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  root.teardown(() => { server.close().closeAllConnections() })
  const { port } = server.address() as AddressInfo
  return { at: (host) => `https://${host}:${port}`, received }
}

interface Service {
  readonly server: {
    on: (name: 'request', listener: (request: IncomingMessage, response: ServerResponse) => void) => unknown
  }
  readonly listen: (options: { readonly port: number, readonly host: string }) => Promise<string>
  readonly close: () => Promise<unknown>
}

export interface Exchange {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly cookie: string | undefined
  readonly contentType: string | undefined
  /** `Sec-Fetch-Site`. */
  readonly site: string | undefined
  readonly status: number
}

export interface Running extends Pick<Site, 'at'> {
  readonly port: number
  /** What came over the wire, in the order of arrival. */
  readonly exchanges: readonly Exchange[]
}

/** Lets a Fastify instance listen on loopback until the file ends. */
export async function listen (app: Service, scheme: 'http' | 'https' = 'https'): Promise<Running> {
  const exchanges: Exchange[] = []
  app.server.on('request', ({ method = '', url = '', headers }, response) => {
    const [path = ''] = url.split('?')
    // Chromium asks for it when it likes.
    if (path === '/favicon.ico') return
    const { cookie, 'content-type': contentType, 'sec-fetch-site': site } = headers
    exchanges.push({
      method,
      path,
      cookie,
      contentType,
      site: site?.toString(),
      get status () {
        return response.statusCode
      },
    })
  })
  root.teardown(() => app.close())
  const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  return { at: (host) => `${scheme}://${host}:${port}`, port: Number(port), exchanges }
}

/** A page of a plain site that writes `?html=` into itself: what an attacker serves. */
export function echo (request: IncomingMessage, response: ServerResponse): void {
  const html = new URL(request.url ?? '', 'https://echo.test').searchParams.get('html') ?? ''
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(
    `<!doctype html><link rel="icon" href="data:,"><body>${html}</body>`,
  )
}

/** The address of an echo page. */
export function echoing (origin: string, html: string): string {
  return `${origin}/?html=${encodeURIComponent(html)}`
}

/**
 * What goes wrong in a page from now on: errors in its console, CSP violations among them, and exceptions that nobody
 * caught.
 */
export function complaints (page: Page): readonly string[] {
  const found: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      found.push(`${message.text()} (${new URL(message.location().url || 'about:blank').pathname})`)
    }
  })
  page.on('pageerror', (error) => {
    found.push(error.message)
  })
  return found
}

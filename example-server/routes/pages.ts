import fastifyStatic from '@fastify/static'
import { publicRoute, SecurityError } from 'fastify-bulwark'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../env.js'
import { Text } from '../schemas.js'
import type { App } from '../services.js'

/** In the repository, above the folder this was compiled into: the compiler copies no file that it does not compile. */
const PUBLIC = findAbove(import.meta.dirname, join('example-server', 'public'))

/** What the page loads; nothing else of it is served. */
const ASSETS = join(PUBLIC, 'assets')

/** The suite's own module for browsers. */
const CLIENT = dirname(fileURLToPath(import.meta.resolve('fastify-bulwark/client')))

/** What is sent here is text already; an object could only be sent by mistake, and then says nothing. */
const TEXT = { schema: { response: { 200: Text } } }

function findAbove (folder: string, path: string): string {
  const found = join(folder, path)
  return existsSync(found) || folder === dirname(folder) ? found : findAbove(dirname(folder), path)
}

/** The page with its files, and where to report a weakness. */
export async function pageRoutes (app: App, config: Config): Promise<void> {
  securityTxt(app, config)

  // Stricter than the profile: own files with a nonce, calls to this origin, and no text that becomes markup or code.
  const directives = {
    'img-src': ["'self'"],
    'style-src': ["'nonce'"],
    'font-src': false as const,
    'manifest-src': false as const,
    'require-trusted-types-for': ["'script'"],
    'trusted-types': ["'none'"],
  }
  await app.secureScope({
    headers: { profile: 'document', contentSecurityPolicy: { directives } },
    auth: publicRoute('the page is where one signs in'),
  }, async (scope) => {
    const page = readPage()
    scope.get('/', TEXT, async (_request, reply) => {
      // A stored copy would repeat its nonce.
      return reply.header('cache-control', 'no-store').type('text/html; charset=utf-8').send(page.join(reply.cspNonce))
    })
    await scope.secureScope({ headers: { cacheControl: false }, rateLimit: { only: ['files'] } }, assetRoutes)
  })
}

/**
 * One route a file, made at boot: no part of a URL ever becomes a path. `cacheControl: false` above, because these
 * files are the same for all: a visitor with cookies may keep them, too, and asks each time whether they have changed.
 */
async function assetRoutes (scope: App): Promise<void> {
  await scope.register(fastifyStatic, { root: ASSETS, serve: false, acceptRanges: false })
  for (const file of readdirSync(ASSETS)) {
    scope.get(`/assets/${file}`, TEXT, async (_request, reply) => reply.sendFile(file))
  }
  scope.get('/assets/session.js', TEXT, async (_request, reply) => reply.sendFile('session.js', CLIENT))
  // Browsers ask for it where no page names an icon, such as a JSON answer in a tab.
  scope.get('/favicon.ico', TEXT, async (_request, reply) => reply.sendFile('icon.svg'))
}

/**
 * The page around each place of the nonce. Everything else is filled in here, once, so nothing of a request gets in.
 */
function readPage (): string[] {
  const template = readFileSync(join(PUBLIC, 'index.html'), 'utf8')
  return template.replaceAll(
    /\{\{integrity ([\w.-]+)\}\}/g,
    (_place, file: string) => integrityOf(join(file === 'session.js' ? CLIENT : ASSETS, file)),
  ).split('{{nonce}}')
}

/**
 * Subresource Integrity, section 3.1. A file that changes after the start is refused by browsers until the next one.
 */
function integrityOf (file: string): string {
  return `sha384-${createHash('sha384').update(readFileSync(file)).digest('base64')}`
}

const EXPIRES_AFTER_DAYS = 180

/** RFC 9116. Each start confirms the contact for half a year; the standard wants less than one. */
function securityTxt (app: App, { SECURITY_CONTACT: contact, PUBLIC_ORIGIN: origin }: Config): void {
  const expires = new Date(Date.now() + EXPIRES_AFTER_DAYS * 86_400_000).toISOString()
  const canonical = origin === undefined ? '' : `Canonical: ${origin}/.well-known/security.txt\n`
  const text = contact === undefined
    ? null
    : `Contact: ${contact}\nExpires: ${expires}\n${canonical}Preferred-Languages: en\n`
  app.get('/.well-known/security.txt', {
    ...TEXT,
    security: { auth: publicRoute('the finder of a weakness has no account') },
  }, async (_request, reply) => {
    if (text === null) throw new SecurityError('NOT_FOUND')
    return reply.type('text/plain; charset=utf-8').send(text)
  })
}

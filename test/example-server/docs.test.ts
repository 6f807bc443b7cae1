import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import root, { test } from 'tap'
import { readConfig, Variables } from '../../example-server/env.js'
import { sharedDatabase, SLOW, startApp } from './helpers.js'

root.setTimeout(SLOW.timeout)

const REPOSITORY = join(import.meta.dirname, '..', '..', '..')
const page = readFileSync(join(REPOSITORY, 'docs', 'example-server.md'), 'utf8')
const template = readFileSync(join(REPOSITORY, '.env.example'), 'utf8')
const names = Object.keys(Variables.properties).sort()

test('the page and .env.example name every variable and no other', (t) => {
  t.same([...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, name]) => name).sort(), names)
  t.same([...template.matchAll(/^(?:# )?([A-Z_]+)=/gm)].map(([, name]) => name).sort(), names)
  t.end()
})

test('.env.example works as it stands and changes no default', (t) => {
  const config = readConfig({ ...parseEnv(template) })
  t.same(JSON.parse(JSON.stringify(config)), JSON.parse(JSON.stringify(readConfig({}))))
  t.end()
})

test('.env.example shows no secret that could be used', (t) => {
  t.notMatch(template, /JWT_\w+=\S/)
  t.end()
})

/** As the page writes them: what answers GET also answers HEAD. */
function readable (routes: readonly { readonly method: string, readonly url: string }[]): string[] {
  return routes.filter(({ method }) => method !== 'HEAD').map(({ method, url }) =>
    `${method.replace('HEAD|', '')} ${url}`
  ).sort()
}

test('the page lists exactly the routes that are served', SLOW, async (t) => {
  const app = await startApp(t, await sharedDatabase(t), { MAIL_DIRECTORY: 'never-written-to' })
  const served = readable(app.security.posture().routes)
  const listed = [...page.matchAll(/^\| `((?:GET|POST|PATCH|DELETE) [^`]+)` \|/gm)].map(([, route]) => route)
  t.same(listed.sort(), served)
})

test('every route but the documented ones asks for a session', SLOW, async (t) => {
  const app = await startApp(t, await sharedDatabase(t), { MAIL_DIRECTORY: 'never-written-to' })
  const open = app.security.posture().routes.filter(({ security }) => security.auth?.access !== 'required')
  t.same(readable(open), [
    'GET /',
    'GET /.well-known/security.txt',
    'GET /assets/api.js',
    'GET /assets/app.js',
    'GET /assets/icon.svg',
    'GET /assets/session.js',
    'GET /assets/style.css',
    'GET /favicon.ico',
    'GET /healthz',
    'GET /open/stats',
    'GET /readyz',
    'POST /auth/forgot-password',
    'POST /auth/login',
    'POST /auth/logout',
    'POST /auth/refresh',
    'POST /auth/register',
    'POST /auth/reset-password',
    'POST /reports/csp',
  ])
})

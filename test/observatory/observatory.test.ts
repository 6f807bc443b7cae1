import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { t as root, test, type Test } from 'tap'
import { buildApp } from '../../example-server/app.js'
import type { App } from '../../example-server/services.js'
import { readConfig } from '../../example-server/env.js'
import { SECRETS, sharedDatabase, SLOW } from '../example-server/helpers.js'
import { redisUrl } from '../helpers/redis.js'
import { makeCertificate } from '../helpers/certificates.js'

root.setTimeout(SLOW.timeout)

const FOLDER = join(import.meta.dirname, '..', '..', '..', 'test', 'observatory')

/** `npm test` installs it, where it can; npm writes this file last. */
const OPTIONS = existsSync(join(FOLDER, 'node_modules', '.package-lock.json'))
  ? SLOW
  : { ...SLOW, skip: 'MDN HTTP Observatory is not installed (npm ci --ignore-scripts in test/observatory)' }

/** The preload list has all of `dev`. */
const HOST = 'tracker.bulwark-example.dev'
const LISTED = ['dev']

interface Report {
  readonly score: number
  readonly grade: string
  readonly status: number
  readonly results: readonly {
    readonly name: string
    readonly result: string
    readonly modifier: number
    readonly pass: boolean
  }[]
}

interface Scan {
  readonly path: string
  readonly ports: Readonly<Record<number, number>>
  readonly preloaded: readonly string[]
}

/** A listener for each scheme, on one database and configured for production. */
async function startService (
  t: Test,
): Promise<{ readonly plain: number, readonly secure: number, readonly certFile: string }> {
  const { key, cert, certFile } = makeCertificate(t.testdir(), HOST)
  const database = await sharedDatabase(t)
  const config = readConfig({
    ...SECRETS,
    NODE_ENV: 'production',
    DATABASE_URL: 'postgres://unused',
    REDIS_URL: redisUrl(),
    PUBLIC_ORIGIN: `https://${HOST}`,
    ALLOWED_HOSTS: HOST,
    TRUSTED_PROXIES: 'none',
  })
  const listen = async (app: App): Promise<number> => {
    t.teardown(() => app.close())
    await app.listen({ port: 0, host: '127.0.0.1' })
    return (app.server.address() as AddressInfo).port
  }
  return {
    plain: await listen(await buildApp(config, database, { logger: false })),
    secure: await listen(await buildApp(config, database, { logger: false, https: { key, cert } })),
    certFile,
  }
}

/**
 * An address of this run's own, because limits that a shared Redis keeps outlive it. Only Linux has all of 127.0.0.0/8.
 */
const address = process.platform === 'linux'
  ? { localAddress: `127.${randomInt(1, 255)}.${randomInt(255)}.${randomInt(1, 255)}` }
  : {}

async function runScorer (certFile: string, scans: readonly Scan[]): Promise<Report[]> {
  const input = JSON.stringify({ host: HOST, scans, ...address })
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: certFile, NO_PROXY: '*', no_proxy: '*' }
  const { stdout } = await promisify(execFile)(process.execPath, [join(FOLDER, 'scan.mjs'), input], { env })
  return JSON.parse(stdout) as Report[]
}

function assertReport (
  t: Test,
  title: string,
  report: Report | undefined,
  expected: { readonly score: number, readonly grade: string, readonly points: Readonly<Record<string, number>> },
): void {
  const { score, grade, status, results } = report ?? { score: 0, grade: '', status: 0, results: [] }
  t.comment(`${title}: ${score} ${grade}`)
  for (const { name, result, modifier } of results) {
    t.comment(`  ${modifier > 0 ? '+' : ''}${modifier} ${name}: ${result}`)
  }
  t.same({ score, grade, status }, { score: expected.score, grade: expected.grade, status: 200 }, title)
  t.same(
    Object.fromEntries(results.filter(({ modifier }) => modifier !== 0).map(({ name, modifier }) => [name, modifier])),
    expected.points,
  )
  t.same(
    results.filter(({ pass }) => !pass).map(({ name }) => name),
    Object.keys(expected.points).filter((name) => (expected.points[name] ?? 0) < 0),
    'what lost no points has passed',
  )
}

const API = {
  'content-security-policy': 10,
  'referrer-policy': 5,
  'x-frame-options': 5,
  'cross-origin-resource-policy': 10,
}
const PAGE = { ...API, 'subresource-integrity': 5 }
const PRELOADED = { 'strict-transport-security': 5 }

test('what MDN HTTP Observatory says of the example server', OPTIONS, async (t) => {
  const { plain, secure, certFile } = await startService(t)
  const both = { 80: plain, 443: secure }
  // Nothing listens on port 1.
  const secureOnly = { 80: 1, 443: secure }
  const [page, preloadedPage, api, preloadedApi, refusingApi] = await runScorer(certFile, [
    { path: '/', ports: both, preloaded: [] },
    { path: '/', ports: both, preloaded: LISTED },
    { path: '/open/stats', ports: secureOnly, preloaded: [] },
    { path: '/open/stats', ports: secureOnly, preloaded: LISTED },
    { path: '/open/stats', ports: both, preloaded: [] },
  ])
  assertReport(t, 'the page', page, { score: 135, grade: 'A+', points: PAGE })
  assertReport(t, 'the page, on a domain of the preload list', preloadedPage, {
    score: 140,
    grade: 'A+',
    points: { ...PAGE, ...PRELOADED },
  })
  assertReport(t, 'an answer of the API', api, { score: 130, grade: 'A+', points: API })
  assertReport(t, 'an answer of the API, on a domain of the preload list', preloadedApi, {
    score: 135,
    grade: 'A+',
    points: { ...API, ...PRELOADED },
  })
  // Redirected, a program would go on to send its credentials in the clear first, so the API refuses instead.
  assertReport(t, 'an answer of the API, where plain HTTP is refused with a 403', refusingApi, {
    score: 80,
    grade: 'B+',
    points: { ...API, redirection: -20 },
  })
})

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { cp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { buildApp } from '../../example-server/app.js'
import { openDatabase, type Database } from '../../example-server/database/database.js'
import { readConfig, type Config } from '../../example-server/env.js'
import type { App } from '../../example-server/services.js'

/** For tests that start a Postgres in WebAssembly, which takes a busy machine its time. */
export const SLOW = { timeout: 180_000 }

export const PASSWORD = 'Correct-horse-9'

/** Two secrets that are good enough to start with, and known, so that two servers can share sessions. */
export const SECRETS = {
  JWT_ACCESS_SECRET: 'q7Zt2uX0vLr9cYw4mPk8sBn1dHf6gJa3eTo5iRbVxCzQ',
  JWT_REFRESH_SECRET: 'U8nE3yWp6KdS1hMv9RjF4aGz7LxB2cTq0oIiPwNsYkXe',
}

export function testConfig (variables: Readonly<Record<string, string>> = {}): Config {
  return readConfig({ NODE_ENV: 'test', ...SECRETS, ...variables })
}

/** Making a new PGlite takes seconds of CPU, copying one that was closed does not: it is made once for all tests. */
const TEMPLATE = join(import.meta.dirname, '..', '..', '.pglite-template')

/** A PGlite directory with the schema and nobody in it. */
export async function emptyData (directory: string): Promise<string> {
  if (!existsSync(TEMPLATE)) {
    const own = `${TEMPLATE}.${process.pid}`
    const database = await openDatabase({ directory: own })
    await database.close()
    // Another file's tests may have made it meanwhile: the first one stays.
    await rename(own, TEMPLATE).catch(() => rm(own, { recursive: true }))
  }
  await cp(TEMPLATE, directory, { recursive: true })
  return directory
}

/** A directory of the test's own, outside the repository. */
export function workingDirectory (t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'bulwark-example-'))
  t.teardown(() => { rmSync(directory, { recursive: true, force: true }) })
  return directory
}

/** A database that the tests of a file share. */
export async function sharedDatabase (t: Test): Promise<Database> {
  const directory = workingDirectory(t)
  const database = await openDatabase({ directory: await emptyData(join(directory, 'pglite')) })
  t.teardown(() => database.close())
  return database
}

export async function startApp (
  t: Test,
  database: Database,
  variables: Readonly<Record<string, string>> = {},
): Promise<App> {
  const app = await buildApp(testConfig(variables), database, { logger: false })
  await app.ready()
  t.teardown(() => app.close())
  return app
}

/** The cookies of one visitor, by their paths. */
export class CookieJar {
  readonly #cookies = new Map<string, { readonly value: string, readonly path: string }>()

  store (headers: readonly string[]): void {
    for (const header of headers) {
      const [pair = '', ...attributes] = header.split('; ')
      const name = pair.slice(0, pair.indexOf('='))
      const value = pair.slice(name.length + 1)
      const read = (attribute: string): string | undefined =>
        attributes.find((text) => text.toLowerCase().startsWith(`${attribute}=`))?.slice(attribute.length + 1)
      if (read('max-age') === '0' || value === '') this.#cookies.delete(name)
      else this.#cookies.set(name, { value, path: read('path') ?? '/' })
    }
  }

  /** The Cookie header for a path, or null. */
  header (path: string): string | null {
    const pairs = [...this.#cookies].filter(([, cookie]) => path.startsWith(cookie.path)).map(([name, { value }]) =>
      `${name}=${value}`
    )
    return pairs.length === 0 ? null : pairs.join('; ')
  }

  get names (): string[] {
    return [...this.#cookies.keys()].sort()
  }

  /** The same cookies in a second jar: a copy of what a browser holds. */
  copy (): CookieJar {
    const copy = new CookieJar()
    for (const [name, cookie] of this.#cookies) copy.#cookies.set(name, cookie)
    return copy
  }
}

export interface Call {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** A visitor with an address and cookies of their own. */
export class Visitor {
  static #count = 0
  readonly jar: CookieJar
  readonly address: string
  readonly #app: App

  constructor (app: App, { address, jar }: { address?: string, jar?: CookieJar } = {}) {
    this.#app = app
    this.jar = jar ?? new CookieJar()
    this.address = address ?? `192.0.2.${++Visitor.#count}`
  }

  async send (
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    url: string,
    { body, headers }: Call = {},
  ): Promise<LightMyRequestResponse> {
    const cookie = this.jar.header(url)
    const res = await this.#app.inject({
      method,
      url,
      remoteAddress: this.address,
      headers: { host: 'localhost', origin: 'http://localhost', ...(cookie !== null && { cookie }), ...headers },
      ...(body !== undefined && { payload: body as object }),
    })
    const set = res.headers['set-cookie']
    this.jar.store(set === undefined ? [] : [set].flat())
    return res
  }

  async register (email: string): Promise<LightMyRequestResponse> {
    return this.send('POST', '/auth/register', { body: { email, password: PASSWORD, fullName: 'Ada Lovelace' } })
  }

  async login (email: string, password = PASSWORD): Promise<LightMyRequestResponse> {
    return this.send('POST', '/auth/login', { body: { email, password } })
  }
}

/** A visitor who has an account and is signed in. */
export async function member (app: App, email: string): Promise<Visitor> {
  const visitor = new Visitor(app)
  const registered = await visitor.register(email)
  const signedIn = await visitor.login(email)
  if (registered.statusCode !== 201 || signedIn.statusCode !== 200) {
    throw new Error(`no account for ${email}: ${registered.statusCode} ${signedIn.statusCode} ${signedIn.body}`)
  }
  return visitor
}

/** The code of a problem document. */
export function codeOf (res: LightMyRequestResponse): string {
  return res.json<{ code: string }>().code
}

export interface Letter { readonly name: string, readonly text: string }

/** Letters go out behind the answers, so they are waited for; each is read as the mail server would find it. */
export async function letters (directory: string, count: number): Promise<readonly Letter[]> {
  for (let tries = 0; tries < 200; tries++) {
    const names = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith('.eml'))
    if (names.length >= count) {
      return Promise.all(names.map(async (name) => ({ name, text: await readFile(join(directory, name), 'utf8') })))
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`no ${count} letters came`)
}

export const tokenOf = ({ text }: Letter): string => /#reset=([\w-]{43})\r\n/.exec(text)?.[1] ?? 'none'

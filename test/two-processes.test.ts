import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test, type Test } from 'tap'
import { redisUrl, uniquePrefix } from './helpers/redis.js'
import { ROOT } from './helpers/root.js'

interface Running { readonly child: ChildProcess, readonly address: string }

async function start (t: Test, env: Readonly<Record<string, string>>, prefix: string): Promise<Running> {
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'test', 'fixtures', 'service.js'), prefix], {
    cwd: join(ROOT, 'dist'), env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => { child.kill('SIGKILL') })
  for await (const line of createInterface({ input: child.stdout })) return { child, address: line }
  throw new Error('the process ended before it listened')
}

test('two processes on one Redis share limits and sessions', { timeout: 60_000 }, async (t) => {
  const env = {
    REDIS_URL: redisUrl(),
    JWT_ACCESS_SECRET: randomBytes(32).toString('base64url'),
    JWT_REFRESH_SECRET: randomBytes(32).toString('base64url'),
  }
  const prefix = uniquePrefix()
  const [first, second] = await Promise.all([start(t, env, prefix), start(t, env, prefix)])
  const post = async (
    { address }: Running,
    path: string,
    body: object | null,
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    fetch(`${address}${path}`, {
      method: 'POST',
      headers: { ...headers, ...(body !== null && { 'content-type': 'application/json' }) },
      ...(body !== null && { body: JSON.stringify(body) }),
    })
  const cookiesOf = (response: Response): string =>
    response.headers.getSetCookie().map((text) => text.split(';')[0]).join('; ')
  const me = async ({ address }: Running, cookie: string): Promise<unknown> =>
    (await fetch(`${address}/me`, { headers: { cookie } })).json()

  const login = await post(first, '/auth/login', { email: 'ada@example.com', password: 'right' })
  t.equal(login.status, 200)
  const cookie = cookiesOf(login)
  t.same(await me(second, cookie), { id: 'u1', roles: ['user'] })

  const refreshed = await post(second, '/auth/refresh', null, { cookie, origin: second.address })
  t.equal(refreshed.status, 200)
  t.same(await me(first, cookiesOf(refreshed)), { id: 'u1', roles: ['user'] })

  const statuses: number[] = []
  for (let guess = 0; guess < 6; guess++) {
    statuses.push(
      (await post(guess % 2 === 0 ? first : second, '/auth/login', { email: 'eve@example.com', password: 'wrong' }))
        .status,
    )
  }
  t.same(statuses, [401, 401, 401, 401, 401, 429])

  t.equal(
    (await post(second, '/auth/logout', null, { cookie: cookiesOf(refreshed), origin: second.address })).status,
    204,
  )
  t.match(await me(first, cookiesOf(refreshed)), { code: 'SESSION_REVOKED' })

  for (const { child } of [first, second]) {
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit') as [number | null]
    t.equal(code, 0)
  }
})

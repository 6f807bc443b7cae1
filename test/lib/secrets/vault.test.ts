import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { loadEnvAsync, SecretSourceError, vaultSecrets, type SecretSource,
  type SourceProblem } from '../../../secrets.js'
import { Type } from '../../../plugins/validation.js'

const TOKEN = 'hvs.CAESIJ-sup3r-token'
const VALUE = 'Zk3vQ9xTf7Lw2Rb8Yc5Nh1Jd6Gs4Mp0Ua-Xe'

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}
interface Vault {
  readonly address: string
  readonly seen: Seen[]
  answer: (request: Seen, response: ServerResponse) => void
}

/** Speaks the part of Vault's HTTP API that is used, as documented under "KV secrets engine - version 2 (API)". */
async function startVault (t: Test): Promise<Vault> {
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => {
      const seen = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body }
      vault.seen.push(seen)
      vault.answer(seen, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const vault: Vault = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    answer: (_request, response) => {
      json(response, 200, secret({ A: VALUE }))
    },
  }
  return vault
}

function json (response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(
    JSON.stringify(body),
  )
}

/** The answer to GET /v1/:mount/data/:path. */
function secret (
  data: Readonly<Record<string, unknown>> | null,
  version = 1,
  createdTime = '2026-01-01T00:00:00.000000001Z',
): unknown {
  return {
    request_id: '2f0bd0d1-8b2b-3c6d-9d86-4b2a7a6f3c11',
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    wrap_info: null,
    warnings: null,
    auth: null,
    mount_type: 'kv',
    data: {
      data,
      metadata: { created_time: createdTime, custom_metadata: null, deletion_time: '', destroyed: false, version },
    },
  }
}

const load = async (source: SecretSource, ...names: string[]): Promise<Readonly<Record<string, string>>> =>
  await source.load(names, { signal: AbortSignal.timeout(5000) })

async function problemsOf (t: Test, source: SecretSource): Promise<readonly SourceProblem[]> {
  const error: unknown = await load(source, 'A').then(() => null, (reason: unknown) => reason)
  t.ok(error instanceof SecretSourceError, 'it is refused with reasons that may be shown')
  const problems = error instanceof SecretSourceError ? error.problems : []
  t.notMatch(JSON.stringify(problems) + String(error), /sup3r|Zk3v/)
  return problems
}

test('the keys of a secret are read by Vault\'s protocol', async (t) => {
  const vault = await startVault(t)
  vault.answer = (_request, response) => {
    json(response, 200, secret({ A: VALUE, 'db-url': 'postgres://x', OTHER: 'not-asked' }))
  }
  const source = vaultSecrets({
    address: `${vault.address}/`,
    token: TOKEN,
    mount: 'kv/team',
    path: 'apps/my app',
    namespace: 'team-a/',
    keys: { DATABASE_URL: 'db-url' },
  })
  t.equal(source.name, 'Vault kv/team/apps/my app')
  t.same({ ...await load(source, 'A', 'DATABASE_URL', 'ABSENT', 'toString') }, {
    A: VALUE,
    DATABASE_URL: 'postgres://x',
  })
  const [seen] = vault.seen
  t.match(seen, {
    method: 'GET',
    url: '/v1/kv/team/data/apps/my%20app',
    headers: { 'x-vault-token': TOKEN, 'x-vault-namespace': 'team-a/', 'x-vault-request': 'true' },
  })
  await load(vaultSecrets({ address: vault.address, token: TOKEN, path: 'app' }), 'A')
  t.equal(vault.seen[1]?.url, '/v1/secret/data/app')
  t.notOk('x-vault-namespace' in (vault.seen[1]?.headers ?? {}))
})

test('loadEnvAsync takes a secret out of Vault, and tells what Vault says beside what else is wrong', async (t) => {
  const vault = await startVault(t)
  const schema = Type.Object({ PORT: Type.Integer(), A: Type.String({ secret: true }) })
  const sources = [vaultSecrets({ address: vault.address, token: TOKEN, path: 'app' })]
  t.equal((await loadEnvAsync(schema, { source: { PORT: '1' }, sources })).A, VALUE)
  vault.answer = (_request, response) => {
    json(response, 503, { errors: ['Vault is sealed'] })
  }
  await t.rejects(loadEnvAsync(schema, { source: { PORT: 'x' }, sources }), {
    code: 'BULWARK_CONFIG',
    problems: [{ path: 'env.sources[0]', message: /Vault secret\/app: Vault is sealed/ }, { path: 'env.PORT' }],
  })
})

test('each refusal of Vault has its own words, and none shows what the answer held', async (t) => {
  const vault = await startVault(t)
  const source = vaultSecrets({ address: vault.address, token: TOKEN, path: 'app' })
  const cases: [number, RegExp][] = [
    [400, /400/],
    [403, /Permission denied/],
    [404, /no such secret/],
    [429, /standby/],
    [500, /status 500/],
    [501, /not initialised/],
    [503, /sealed/],
    [472, /472/],
    [204, /204/],
    [307, /redirect/],
  ]
  for (const [status, message] of cases) {
    vault.answer = (_request, response) => {
      response.writeHead(status, { location: 'http://127.0.0.1:1/sup3r' }).end(
        status === 204 ? undefined : '{"errors":["sup3r"]}',
      )
    }
    t.match((await problemsOf(t, source))[0]?.message, message)
  }
  const bodies: [string, RegExp][] = [
    ['sup3r', /not JSON/],
    ['null', /KV version 2/],
    ['{"data":{"A":"sup3r"}}', /KV version 2/],
    [JSON.stringify(secret(null)), /KV version 2/],
    [JSON.stringify(secret({ A: { nested: 'sup3r' } })), /is not text/],
    [`{"data":"${'x'.repeat(3 * 1024 * 1024)}"}`, /larger than/],
  ]
  for (const [body, message] of bodies) {
    vault.answer = (_request, response) => { response.writeHead(200).end(body) }
    t.match((await problemsOf(t, source))[0]?.message, message)
  }
  vault.answer = (_request, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('{')
    response.destroy()
  }
  t.match((await problemsOf(t, source))[0]?.message, /broke off|cannot be reached/)
})

test('a redirect is not followed, so nobody else gets the token', async (t) => {
  const [vault, other] = [await startVault(t), await startVault(t)]
  vault.answer = (_request, response) => {
    response.writeHead(307, { location: `${other.address}/v1/secret/data/app` }).end()
  }
  await problemsOf(t, vaultSecrets({ address: vault.address, token: TOKEN, path: 'app' }))
  t.same(other.seen, [])
})

test('an endless answer is cut off, and one that does not come ends with its signal', async (t) => {
  const vault = await startVault(t)
  const source = vaultSecrets({ address: vault.address, token: TOKEN, path: 'app' })
  vault.answer = (_request, response) => {
    const more = (): void => { while (!response.destroyed && response.write('x'.repeat(65_536))); }
    response.on('drain', more).on('error', () => {})
    more()
  }
  t.match((await problemsOf(t, source))[0]?.message, /larger than/)
  vault.answer = () => {}
  await t.rejects(source.load(['A'], { signal: AbortSignal.timeout(50) }), SecretSourceError)
})

test('a Vault that cannot be reached is told with the code of the reason', async (t) => {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  t.match(
    (await problemsOf(t, vaultSecrets({ address: `http://127.0.0.1:${port}`, token: TOKEN, path: 'app' })))[0]?.message,
    /ECONNREFUSED/,
  )
})

test('the file of a token is read again at each load', async (t) => {
  const vault = await startVault(t)
  const file = join(t.testdir({}), 'token')
  const source = vaultSecrets({ address: vault.address, tokenFile: file, path: 'app' })
  t.match((await problemsOf(t, source))[0]?.message, /ENOENT/)
  for (const token of ['first', 'second']) {
    writeFileSync(file, `${token}\n`)
    await load(source, 'A')
    t.equal(vault.seen.at(-1)?.headers['x-vault-token'], token)
  }
  for (const broken of ['', 'sup3r token', 'sup3r\r\nx-evil: 1']) {
    writeFileSync(file, broken)
    const before = vault.seen.length
    t.match((await problemsOf(t, source))[0]?.message, /no token has/)
    t.equal(vault.seen.length, before, 'and nothing was sent')
  }
})

test('a pod signs in with its service account, keeps the token, and signs in again when it ends or is refused', async (t) => {
  const vault = await startVault(t)
  const file = join(t.testdir({ jwt: 'header.payload.signature\n' }), 'jwt')
  let tokens = 0
  let lease = 3600
  let accepted = 1
  vault.answer = ({ url, headers }, response) => {
    if (url === '/v1/auth/k8s/prod/login') {
      json(response, 200, {
        auth: {
          client_token: `hvs.${++tokens}`,
          accessor: 'x',
          policies: ['default'],
          lease_duration: lease,
          renewable: true,
        },
      })
    } else if (headers['x-vault-token'] === `hvs.${accepted}`) json(response, 200, secret({ A: VALUE }))
    else json(response, 403, { errors: ['permission denied'] })
  }
  const source = vaultSecrets({
    address: vault.address,
    kubernetes: { role: 'my-service', mount: 'k8s/prod', tokenFile: file },
    path: 'app',
    namespace: 'ns',
  })
  t.equal((await load(source, 'A'))['A'], VALUE)
  t.match(vault.seen[0], {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-vault-namespace': 'ns' },
    body: JSON.stringify({ role: 'my-service', jwt: 'header.payload.signature' }),
  })
  t.notOk('x-vault-token' in (vault.seen[0]?.headers ?? {}))
  await load(source, 'A')
  t.equal(tokens, 1, 'the token is kept')
  accepted = 2
  lease = 0
  t.equal((await load(source, 'A'))['A'], VALUE, 'revoked: another one is got')
  t.equal(tokens, 2)
  await load(source, 'A')
  t.equal(tokens, 2, 'a token without an end is kept')
  accepted = 99
  t.match((await problemsOf(t, source))[0]?.message, /Permission denied/)
  t.equal(tokens, 3, 'one more try, and no loop')
  lease = -1
  accepted = 4
  await load(source, 'A').catch(() => {})
  accepted = 5
  await load(source, 'A')
  t.equal(tokens, 5, 'a token that ended is not used')
  vault.answer = (_request, response) => { json(response, 200, { auth: null }) }
  t.match((await problemsOf(t, source))[0]?.message, /no token/)
})

test('an answer of a standby that lags behind is not taken for a rotation', async (t) => {
  const vault = await startVault(t)
  const source = vaultSecrets({ address: vault.address, token: TOKEN, path: 'app' })
  const cases: [string, number, string, string][] = [
    ['old', 3, '2026-01-01T00:00:00Z', 'old'],
    ['new', 4, '2026-02-01T00:00:00Z', 'new'],
    ['old', 3, '2026-01-01T00:00:00Z', 'new'],
    ['made anew', 1, '2026-03-01T00:00:00Z', 'made anew'],
    ['no time', 1, 'x', 'no time'],
  ]
  for (const [value, version, created, expected] of cases) {
    vault.answer = (_request, response) => { json(response, 200, secret({ A: value }, version, created)) }
    t.equal((await load(source, 'A'))['A'], expected)
  }
})

test('options are refused when wrong, and all are listed', async (t) => {
  const ok = { address: 'https://vault.example:8200', token: TOKEN, path: 'app' }
  const cases: [Readonly<Record<string, unknown>>, RegExp][] = [
    [{ adress: 'x' }, /adress/],
    [{ address: undefined }, /address/],
    [{ address: 5 }, /address/],
    [{ address: 'vault:8200' }, /address/],
    [{ address: 'ftp://vault' }, /address/],
    [{ address: 'http://vault.example:8200' }, /Plain HTTP/],
    [{ address: 'https://u:sup3r@vault' }, /address/],
    [{ address: 'https://vault/?x=1' }, /address/],
    [{ path: '' }, /path/],
    [{ path: '/app' }, /path/],
    [{ path: 'app/' }, /path/],
    [{ path: '../sys/seal' }, /Dots/],
    [{ path: 'a/../b' }, /Dots/],
    [{ path: 'a?b' }, /path/],
    [{ path: undefined }, /path/],
    [{ mount: 'a/..' }, /Dots/],
    [{ mount: 5 }, /mount/],
    [{ namespace: 'a b' }, /namespace/],
    [{ token: undefined }, /Exactly one/],
    [{ token: '' }, /token/],
    [{ tokenFile: '/x' }, /Exactly one/],
    [{ kubernetes: { role: 'x' } }, /Exactly one/],
    [{ token: undefined, kubernetes: {} }, /role/],
    [{ token: undefined, kubernetes: { role: 'x', rol: 1 } }, /rol/],
    [{ unsafeHttp: 'yes' }, /unsafeHttp/],
    [{ keys: { A: '' } }, /keys/],
  ]
  for (const [change, message] of cases) {
    const problems = await problemsOf(t, vaultSecrets({ ...ok, ...change }))
    t.match(problems.map((problem) => problem.message).join(), message, JSON.stringify(change))
  }
  t.equal(
    (await problemsOf(t, vaultSecrets({ ...ok, address: 'http://vault.example', path: '../x', tokenFile: 'x' })))
      .length,
    3,
    'all at once',
  )
  for (const address of ['http://localhost:1', 'http://127.0.0.1:1', 'http://[::1]:1']) {
    t.match(
      (await problemsOf(t, vaultSecrets({ ...ok, address })))[0]?.message,
      /cannot be reached/,
      `${address} is this machine`,
    )
  }
  t.match(
    (await problemsOf(t, vaultSecrets({ ...ok, address: 'http://127.1.2.3.invalid:1', unsafeHttp: true })))[0]?.message,
    /cannot be reached/,
  )
  t.match(
    (await problemsOf(t, vaultSecrets({ ...ok, address: 'http://127.0.0.1:1', token: 'sup3r\nx' })))[0]?.message,
    /no token has/,
  )
})

// The suite's own files that a request passes: `npm run build && node bench/walk.mjs`. A file is passed when one of its
// functions is called between the request and its answer, after warm-up; V8 counts the calls. Fewer files are fewer to
// read for somebody who wants to know what happens to a request.
import { randomBytes } from 'node:crypto'
import { Session } from 'node:inspector/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer, defineSecurity, Type } from '../dist/index.js'

const DIST = new URL('../dist/', import.meta.url).href
const WARM_UP_REQUESTS = 20
/** Until what follows an answer (events, settled limits) has run as well. */
const SETTLE_MS = 50

const users = [{ id: 'u1', roles: ['user'] }]

async function startServer () {
  const secret = () => randomBytes(32).toString('base64url')
  const app = await createServer(
    defineSecurity({
      transport: { proxies: 'none', https: 'off' },
      rateLimit: {
        policies: { global: { limit: 1e6, window: '1m', by: 'ip' }, login: { limit: 1e6, window: '1m', by: 'ip' } },
      },
      auth: {
        roles: ['user'],
        accessSecret: secret(),
        refreshSecret: secret(),
        authenticate: async () => users[0],
        loadUser: async () => users[0],
      },
    }),
    { logger: false },
  )
  const body = Type.Object({ name: Type.String() })
  app.post('/items', { schema: { body, response: { 200: body } } }, async (request) => request.body)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, origin: `http://127.0.0.1:${app.server.address().port}` }
}

const { app, origin } = await startServer()
const post = async (path, body, headers = {}) => {
  const answer = await fetch(origin + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin, ...headers },
    body: JSON.stringify(body),
  })
  await answer.text()
  if (!answer.ok) throw new Error(`POST ${path} answered ${answer.status}`)
  return answer
}
const signIn = () => post('/auth/login', { email: 'ada@example.com', password: 'correct horse' })
const cookie = (await signIn()).headers.getSetCookie().map((text) => text.split(';')[0]).join('; ')

const session = new Session()
session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })

async function printWalk (title, request) {
  for (let count = 0; count < WARM_UP_REQUESTS; count++) await request()
  await sleep(SETTLE_MS)
  await session.post('Profiler.takePreciseCoverage') // counts from 0 again
  await request()
  await sleep(SETTLE_MS)
  const { result } = await session.post('Profiler.takePreciseCoverage')
  const files = result.filter(({ functions }) => functions.some(({ ranges }) => ranges[0].count > 0))
    .filter(({ url }) => url.startsWith(DIST)).map(({ url }) => url.slice(DIST.length))
    .filter((file) => /^(lib|plugins)\//.test(file)).sort()
  console.log(`${title}: ${files.length} files\n${files.map((file) => `  ${file.replace(/js$/, 'ts')}`).join('\n')}\n`)
}

await printWalk('an authenticated POST with a JSON body', () => post('/items', { name: 'a lamp' }, { cookie }))
await printWalk('a login', signIn)
await app.close()

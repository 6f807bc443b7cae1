import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import root, { test } from 'tap'
import { buildApp } from '../../example-server/app.js'
import { Visitor, SECRETS, sharedDatabase, SLOW, testConfig, workingDirectory } from '../example-server/helpers.js'

root.setTimeout(SLOW.timeout)

test('a whole visit leaves no password, token or cookie in the log, the events and the answers', SLOW, async (t) => {
  const said: string[] = []
  const stream = new Writable({ write (chunk: Buffer, _encoding, done) { said.push(chunk.toString()); done() } })
  const mail = workingDirectory(t)
  const app = await buildApp(testConfig({ LOG_LEVEL: 'trace', MAIL_DIRECTORY: mail }), await sharedDatabase(t), {
    logger: { level: 'trace', stream },
  })
  t.teardown(() => app.close())
  app.security.events.on('*', (event) => { said.push(JSON.stringify(event)) })
  await app.ready()

  const secrets = new Set<string>(Object.values(SECRETS))
  const [first, second, third, wrong] = [
    'Eins-Correct-9-horse',
    'Zwei-Correct-9-horse',
    'Drei-Correct-9-horse',
    'Wrong-Correct-9-horse',
  ]
  for (const password of [first, second, third, wrong]) secrets.add(password)
  const visitor = new Visitor(app)
  let answers = 0
  const send: Visitor['send'] = async (...call) => {
    const res = await visitor.send(...call)
    answers++
    // Set-Cookie is how a cookie gets to its owner; nothing else of an answer repeats it.
    const { 'set-cookie': set, ...headers } = res.headers
    said.push(JSON.stringify(headers), res.body)
    for (const cookie of [set ?? []].flat()) secrets.add(cookie.slice(cookie.indexOf('=') + 1).split(';')[0] ?? '')
    return res
  }
  const status = async (expected: number, ...call: Parameters<Visitor['send']>): Promise<void> => {
    t.equal((await send(...call)).statusCode, expected, `${call[0]} ${call[1]}`)
  }
  const email = 'walker@example.com'

  await status(201, 'POST', '/auth/register', { body: { email, password: first, fullName: 'Walker' } })
  await status(409, 'POST', '/auth/register', { body: { email, password: first, fullName: 'Walker' } })
  await status(400, 'POST', '/auth/register', { body: { email, password: first, fullName: 'Walker', extra: second } })
  await status(400, 'POST', '/auth/login', {
    body: `{"email":"${email}","password":"${first}"`,
    headers: { 'content-type': 'application/json' },
  })
  await status(415, 'POST', '/auth/login', {
    body: `password=${first}`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
  await status(401, 'POST', '/auth/login', { body: { email, password: wrong } })
  await status(200, 'POST', '/auth/login', { body: { email, password: first } })
  const stolen = visitor.jar.copy()
  await status(200, 'GET', '/me')
  await status(200, 'GET', '/auth/sessions')
  await status(201, 'POST', '/projects', { body: { name: 'Engine' } })
  await status(200, 'POST', '/auth/refresh')
  await status(403, 'POST', '/projects', { body: { name: 'x' }, headers: { origin: 'https://evil.example' } })
  await status(401, 'POST', '/me/password', { body: { current: wrong, password: second } })
  await status(204, 'POST', '/me/password', { body: { current: first, password: second } })
  await status(404, 'GET', `/nope?token=${second}&access_token=${third}`)
  await status(401, 'GET', `/me?access_token=${second}`, { headers: { cookie: '', authorization: `Bearer ${third}` } })

  await status(202, 'POST', '/auth/forgot-password', { body: { email } })
  let letter = ''
  for (let waited = 0; letter === '' && waited < 100; waited++) {
    const [file] = readdirSync(mail).filter((name) => name.endsWith('.eml'))
    if (file === undefined) await new Promise((resolve) => setTimeout(resolve, 50))
    else letter = readFileSync(join(mail, file), 'utf8')
  }
  const token = /#reset=([\w-]{43})/.exec(letter)?.[1] ?? ''
  t.equal(token.length, 43)
  secrets.add(token)
  await status(204, 'POST', '/auth/reset-password', { body: { token, password: third } })
  await status(422, 'POST', '/auth/reset-password', { body: { token, password: third } })
  await status(200, 'POST', '/auth/login', { body: { email, password: third } })
  await status(204, 'POST', '/auth/logout')

  const thief = new Visitor(app, { jar: stolen })
  for (const res of [await thief.send('POST', '/auth/refresh'), await thief.send('GET', '/me')]) {
    t.equal(res.statusCode, 401)
    said.push(res.body)
  }
  await app.close()

  secrets.delete('')
  // A token has a signature, which alone would be enough to forge nothing, but is part of it.
  const parts = [...secrets].flatMap((
    secret,
  ) => [secret, ...secret.split('.').filter((part, index) => index > 0 && part.length > 20)])
  const text = said.join('\n')
  t.ok(
    answers > 20 && secrets.size > 12 && said.length > 80,
    `${answers} answers, ${secrets.size} secrets, ${said.length} texts`,
  )
  t.match(text, /"event":"authn_login_success"/, 'the log was read')
  t.match(text, /"level":10|"level":20|"level":30/)
  for (const secret of parts) {
    t.notOk(
      text.includes(secret) || text.includes(encodeURIComponent(secret)),
      text.slice(Math.max(0, text.indexOf(secret) - 150), text.indexOf(secret) + 20).replace(
        secret.slice(0, 20),
        '(secret)',
      ),
    )
  }
  t.notMatch(text, /\$argon2/, 'no hash either')
})

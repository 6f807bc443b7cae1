import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import root, { test } from 'tap'
import { createUsers } from '../../example-server/repositories/users.js'
import { codeOf, letters, member, PASSWORD, sharedDatabase, SLOW, startApp, tokenOf, Visitor,
  workingDirectory } from './helpers.js'

root.setTimeout(SLOW.timeout)

const OTHER = 'Another-horse-7'

test('recovery', SLOW, async (t) => {
  const database = await sharedDatabase(t)
  const directory = join(workingDirectory(t), 'mail')
  const app = await startApp(t, database, {
    MAIL_DIRECTORY: directory,
    PUBLIC_ORIGIN: 'http://localhost',
    MAIL_FROM: 'no-reply@example.com',
  })
  const users = createUsers(database)
  const ask = async (email: string): Promise<string> => {
    const res = await new Visitor(app).send('POST', '/auth/forgot-password', { body: { email } })
    return `${res.statusCode} ${res.body}`
  }
  const reset = async (token: string, password = OTHER): Promise<Awaited<ReturnType<Visitor['send']>>> =>
    new Visitor(app).send('POST', '/auth/reset-password', { body: { token, password } })

  await t.test('the answer is the same whether or not there is such an account', async (t) => {
    await member(app, 'known@example.com')
    t.equal(await ask('known@example.com'), '202 ')
    t.equal(await ask('unknown@example.com'), '202 ')
    const [letter, ...more] = await letters(directory, 1)
    t.equal(more.length, 0)
    t.match(letter?.text, /^From: no-reply@example\.com\r\nTo: known@example\.com\r\n/)
    t.match(letter?.text, /http:\/\/localhost\/#reset=/)
    t.equal((await stat(join(directory, letter?.name ?? ''))).mode & 0o777, 0o600)
  })

  await t.test('the link sets another password once and signs everybody out', async (t) => {
    const ada = await member(app, 'ada@example.com')
    await ask('ADA@example.com')
    const letter = (await letters(directory, 2)).find(({ text }) => text.includes('To: ada@example.com'))
    const token = letter === undefined ? 'none' : tokenOf(letter)
    t.equal((await reset(token, 'too short')).statusCode, 400, 'a weak password uses nothing up')
    const done = await reset(token)
    t.equal(done.statusCode, 204, done.body)
    t.notOk(done.headers['set-cookie'], 'nobody is signed in by a link')
    t.equal((await ada.send('GET', '/me')).statusCode, 401)
    t.equal((await new Visitor(app).login('ada@example.com', PASSWORD)).statusCode, 401)
    t.equal((await new Visitor(app).login('ada@example.com', OTHER)).statusCode, 200)
    const again = await reset(token, PASSWORD)
    t.equal(again.statusCode, 422)
    t.match(again.json(), { detail: 'This link has been used or is too old. Ask for another one.' })
  })

  await t.test('the database has no token, and one that is too old or replaced does nothing', async (t) => {
    await member(app, 'grace@example.com')
    const before = (await letters(directory, 2)).map(({ name }) => name)
    await ask('grace@example.com')
    const first = (await letters(directory, before.length + 1)).find(({ name }) => !before.includes(name))
    const token = first === undefined ? 'none' : tokenOf(first)
    const rows = await database.query('select encode(token_hash, \'base64\') as hash from password_resets')
    t.notMatch(JSON.stringify(rows), token)
    await database.query('update password_resets set expires_at = now() - interval \'1 second\'')
    t.equal((await reset(token)).statusCode, 422, 'too old')
    await ask('grace@example.com')
    const second = (await letters(directory, before.length + 2)).find(({ name }) =>
      !before.includes(name) && name !== first?.name
    )
    await ask('grace@example.com')
    await letters(directory, before.length + 3)
    t.equal((await reset(second === undefined ? 'none' : tokenOf(second))).statusCode, 422, 'replaced by the next one')
    t.equal((await reset('A'.repeat(43))).statusCode, 422, 'never made')
    for (const wrong of ['', 'A'.repeat(42), `${'A'.repeat(42)}=`, 7, null]) {
      t.equal(
        (await new Visitor(app).send('POST', '/auth/reset-password', { body: { token: wrong, password: OTHER } }))
          .statusCode,
        400,
      )
    }
  })

  await t.test('one address gets three letters an hour, whoever asks', async (t) => {
    const answers: string[] = []
    for (let i = 0; i < 5; i++) {
      const res = await new Visitor(app).send('POST', '/auth/forgot-password', {
        body: { email: i % 2 === 0 ? 'nobody@example.com' : ' NOBODY@example.com '.trim() },
      })
      answers.push(String(res.statusCode))
      t.notMatch(String(res.headers['ratelimit']), 'letters', 'nobody is told how many are left')
    }
    t.same(answers, ['202', '202', '202', '429', '429'])
  })

  await t.test('changing the password asks for the current one and ends every other session', async (t) => {
    const phone = await member(app, 'linus@example.com')
    const laptop = new Visitor(app)
    await laptop.login('linus@example.com')
    const wrong = await laptop.send('POST', '/me/password', { body: { current: 'Wrong-horse-99', password: OTHER } })
    t.equal(codeOf(wrong), 'CREDENTIALS_INVALID')
    t.equal(
      (await laptop.send('POST', '/me/password', { body: { current: PASSWORD, password: 'weak' } })).statusCode,
      400,
    )
    const old = laptop.jar.copy()
    t.equal(
      (await laptop.send('POST', '/me/password', { body: { current: PASSWORD, password: OTHER } })).statusCode,
      204,
    )
    t.equal((await laptop.send('GET', '/me')).statusCode, 200, 'the caller goes on')
    t.equal((await new Visitor(app, { jar: old }).send('GET', '/me')).statusCode, 401, 'in a new session')
    t.equal((await phone.send('GET', '/me')).statusCode, 401)
    t.equal((await new Visitor(app).login('linus@example.com', OTHER)).statusCode, 200)
    for (let i = 0; i < 5; i++) {
      await laptop.send('POST', '/me/password', { body: { current: 'Wrong-horse-99', password: PASSWORD } })
    }
    t.equal(
      (await laptop.send('POST', '/me/password', { body: { current: OTHER, password: PASSWORD } })).statusCode,
      429,
      'and cannot be guessed through an open browser',
    )
  })

  await t.test('an administrator signs a user out and sees the posture', async (t) => {
    const user = await member(app, 'victim@example.com')
    const admin = await member(app, 'root@example.com')
    await users.makeAdmin('root@example.com')
    await admin.login('root@example.com')
    const { id } = (await user.send('GET', '/me')).json<{ id: string }>()
    t.equal(codeOf(await user.send('DELETE', `/admin/users/${id}/sessions`)), 'INSUFFICIENT_ROLE')
    t.equal((await admin.send('DELETE', `/admin/users/${id}/sessions`)).statusCode, 204)
    t.equal((await user.send('GET', '/me')).statusCode, 401)
    t.equal((await admin.send('DELETE', '/admin/users/00000000-0000-4000-8000-000000000000/sessions')).statusCode, 404)
    const view = await admin.send('GET', '/admin/security')
    t.equal(view.statusCode, 200, view.body)
    const routes =
      view.json<{ posture: { routes: { url: string, security: Record<string, unknown> }[] } }>().posture.routes
    t.match(routes.find(({ url }) => url === '/admin/security')?.security['auth'], {
      access: 'required',
      roles: ['admin'],
    })
  })

  await t.test('without a mail directory nobody can ask', async (t) => {
    const silent = await startApp(t, database)
    t.equal(
      (await new Visitor(silent).send('POST', '/auth/forgot-password', { body: { email: 'ada@example.com' } }))
        .statusCode,
      404,
    )
  })
})

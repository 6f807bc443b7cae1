import { hash } from '@node-rs/argon2'
import root, { test } from 'tap'
import { createUsers } from '../../example-server/repositories/users.js'
import { PASSWORD, sharedDatabase, SLOW, startApp, Visitor } from './helpers.js'

root.setTimeout(SLOW.timeout)

test('stored passwords', SLOW, async (t) => {
  const database = await sharedDatabase(t)
  const app = await startApp(t, database)
  const users = createUsers(database)
  const storedOf = async (email: string): Promise<string> => (await users.findByEmail(email))?.passwordHash ?? ''

  await t.test('a sign-in renews a weaker hash, once, and a wrong password does not', async (t) => {
    const weak = await hash(PASSWORD, { memoryCost: 8192, timeCost: 1 })
    await users.create({ email: 'ada@example.com', fullName: 'Ada Lovelace', passwordHash: weak })
    const visitor = new Visitor(app)
    t.equal((await visitor.login('ada@example.com', 'Wrong-horse-9999')).statusCode, 401)
    t.equal(await storedOf('ada@example.com'), weak)
    t.equal((await visitor.login('ada@example.com')).statusCode, 200)
    const renewed = await storedOf('ada@example.com')
    t.match(renewed, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    t.equal((await visitor.login('ada@example.com')).statusCode, 200)
    t.equal(await storedOf('ada@example.com'), renewed)
  })

  await t.test('a password that changed meanwhile is not overwritten', async (t) => {
    const user = await users.create({ email: 'grace@example.com', fullName: 'Grace Hopper', passwordHash: 'changed' })
    t.equal(await users.replacePasswordHash(user.id, 'old', 'renewed'), false)
    t.equal(await storedOf('grace@example.com'), 'changed')
    t.equal(await users.replacePasswordHash(user.id, 'changed', 'renewed'), true)
    t.equal(await storedOf('grace@example.com'), 'renewed')
  })

  await t.test('a stored value that is no hash is 401 like any wrong password', async (t) => {
    const res = await new Visitor(app).login('grace@example.com')
    t.equal(res.statusCode, 401)
    t.match(res.json(), { code: 'CREDENTIALS_INVALID' })
  })
})

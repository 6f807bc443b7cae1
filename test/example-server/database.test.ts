import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Pool } from 'pg'
import root, { test, type Test } from 'tap'
import { mapDatabaseError, openDatabase, type Database } from '../../example-server/database/database.js'
import { lockDirectory } from '../../example-server/database/lock.js'
import { createProjects } from '../../example-server/repositories/projects.js'
import { createUsers } from '../../example-server/repositories/users.js'
import { readStats } from '../../example-server/repositories/stats.js'
import { SLOW, workingDirectory } from './helpers.js'

root.setTimeout(SLOW.timeout)

const { DATABASE_URL } = process.env
/** PGlite always; a real Postgres too when there is one. */
const databases: readonly (readonly [name: string, open: () => Promise<Database>])[] = [
  ['PGlite', () => openDatabase({ directory: null })],
  ...(DATABASE_URL === undefined ? [] : [['Postgres', () => openDatabase({ url: DATABASE_URL })] as const]),
]

const newUser = (email = `${randomUUID()}@example.com`): { email: string, fullName: string, passwordHash: string } => ({
  email,
  fullName: 'Ada Lovelace',
  passwordHash: '$argon2id$x',
})

for (const url of DATABASE_URL === undefined ? [] : [DATABASE_URL]) {
  test('processes that start at once on one Postgres all find the schema', SLOW, async (t) => {
    const opened = await Promise.all(Array.from({ length: 4 }, () => openDatabase({ url })))
    for (const database of opened) {
      t.type((await readStats(database)).users, 'number')
      await database.close()
    }
  })
}

for (const [name, open] of databases) {
  test(`the repositories on ${name}`, SLOW, async (t) => {
    const database = await open()
    t.teardown(() => database.close())
    await usersHold(t, database)
    await projectsHold(t, database)
    await statementsAreSafe(t, database)
    await constraintsHaveMeanings(t, database)
  })
}

async function usersHold (t: Test, database: Database): Promise<void> {
  const users = createUsers(database)

  await t.test('an address is one account, however it is spelt', async (t) => {
    const email = `${randomUUID()}@example.com`
    const created = await users.create(newUser(`  ${email.toUpperCase()} `))
    t.equal(created.email, email)
    await t.rejects(users.create(newUser(email)), { code: 'CONFLICT', statusCode: 409 })
    t.equal((await users.findByEmail(` ${email.toUpperCase()}`))?.user.id, created.id)
  })

  await t.test('a user comes without the hash, except for signing in', async (t) => {
    const created = await users.create(newUser())
    t.same(Object.keys(created).sort(), ['createdAt', 'email', 'fullName', 'id', 'roles'])
    t.same(await users.find(created.id), created)
    t.equal((await users.findByEmail(created.email))?.passwordHash, '$argon2id$x')
    t.match(created.createdAt, /^\d{4}-\d\d-\d\dT.*Z$/)
  })

  await t.test('a new user is no administrator until made one', async (t) => {
    const created = await users.create(newUser())
    t.same(created.roles, ['user'])
    t.equal(await users.makeAdmin(created.email.toUpperCase()), true)
    t.same((await users.find(created.id))?.roles, ['user', 'admin'])
    t.equal(await users.makeAdmin('nobody@example.com'), false)
  })

  await t.test('the list is bounded and newest first', async (t) => {
    const made = [await users.create(newUser()), await users.create(newUser()), await users.create(newUser())]
    const listed = await users.list(2)
    t.same(listed.map(({ id }) => id), [made[2]?.id, made[1]?.id])
  })
}

async function projectsHold (t: Test, database: Database): Promise<void> {
  const users = createUsers(database)
  const projects = createProjects(database)
  const [ada, eve] = [await users.create(newUser()), await users.create(newUser())]

  await t.test('a project has an owner, and nobody else reaches it', async (t) => {
    const project = await projects.create(ada.id, { name: 'Engine' })
    t.match(project, { name: 'Engine', description: null, status: 'active' })
    t.equal(await projects.find(eve.id, project.id), null)
    t.equal(await projects.change(eve.id, project.id, { name: 'Mine' }), null)
    t.equal(await projects.remove(eve.id, project.id), false)
    t.same(await projects.list(eve.id, { limit: 10 }), [])
    t.same(await projects.find(ada.id, project.id), project)
    t.equal(await projects.remove(ada.id, project.id), true)
    t.equal(await projects.find(ada.id, project.id), null)
  })

  await t.test('a change touches what it names; null removes a description', async (t) => {
    const { id } = await projects.create(ada.id, { name: 'Notes', description: 'On the engine', status: 'paused' })
    t.match(await projects.change(ada.id, id, { name: 'Notes G' }), {
      name: 'Notes G',
      description: 'On the engine',
      status: 'paused',
    })
    t.match(await projects.change(ada.id, id, { status: 'done' }), {
      name: 'Notes G',
      description: 'On the engine',
      status: 'done',
    })
    t.match(await projects.change(ada.id, id, { description: null }), {
      name: 'Notes G',
      description: null,
      status: 'done',
    })
    await projects.remove(ada.id, id)
  })

  await t.test('projects are listed newest first, by status, up to the limit', async (t) => {
    for (const [name, status] of [['a', 'active'], ['b', 'done'], ['c', 'active'], ['d', 'active']] as const) {
      await projects.create(eve.id, { name, status })
    }
    const names = async (filter: Parameters<typeof projects.list>[1]): Promise<string> =>
      (await projects.list(eve.id, filter)).map(({ name }) => name).join('')
    t.equal(await names({ limit: 10 }), 'dcba')
    t.equal(await names({ limit: 2 }), 'dc')
    t.equal(await names({ limit: 10, status: 'active' }), 'dca')
    t.equal(await names({ limit: 10, status: 'paused' }), '')
  })
}

async function statementsAreSafe (t: Test, database: Database): Promise<void> {
  await t.test('a value is never read as SQL', async (t) => {
    const users = createUsers(database)
    const projects = createProjects(database)
    const { id } = await users.create(newUser())
    const evil = '\'; drop table projects; --'
    t.equal((await projects.create(id, { name: evil })).name, evil)
    t.equal(await users.findByEmail('\' or 1=1 --'), null)
    t.equal((await projects.list(id, { limit: 5 })).length, 1)
  })

  await t.test('the totals count users and projects', async (t) => {
    const before = await readStats(database)
    const { id } = await createUsers(database).create(newUser())
    await createProjects(database).create(id, { name: 'one' })
    const after = await readStats(database)
    t.ok(after.users >= before.users + 1)
    t.ok(after.projects >= before.projects + 1)
  })
}

async function constraintsHaveMeanings (t: Test, database: Database): Promise<void> {
  await t.test('a constraint that does not hold is a refusal with a meaning', async (t) => {
    const { id } = await createUsers(database).create(newUser())
    const nobody = randomUUID()
    await t.rejects(createProjects(database).create(nobody, { name: 'orphan' }), {
      code: 'NOT_FOUND',
      statusCode: 404,
      cause: { code: '23503' },
    })
    await t.rejects(
      database.query('insert into projects (owner_id, name, status) values ($1, $2, $3)', [id, 'x', 'unknown']),
      { code: 'UNPROCESSABLE', cause: { code: '23514' } },
    )
    await t.rejects(
      database.query('insert into projects (owner_id, name, status) values ($1, $2, $3)', [id, null, 'done']),
      { code: 'UNPROCESSABLE', cause: { code: '23502' } },
    )
    await t.rejects(
      database.query(
        'insert into users (email, full_name, password_hash) select email, full_name, password_hash from users where id = $1',
        [id],
      ),
      { code: 'CONFLICT', cause: { code: '23505' } },
    )

    await database.query('create table if not exists held (user_id uuid not null references users (id))')
    await database.query('insert into held values ($1)', [id])
    await t.rejects(database.query('delete from users where id = $1', [id]), {
      code: 'CONFLICT',
      statusCode: 409,
      cause: { code: '23503' },
    })
    await database.query('drop table held')
    await database.query('delete from users where id = $1', [id])
  })

  await t.test('what a schema must refuse is an error of its own here', async (t) => {
    await t.rejects(createUsers(database).find('no uuid'), { code: '22P02' })
    await t.rejects(createUsers(database).findByEmail('a\0@example.com'), { code: '22021' })
    t.match(await readStats(database), { users: Number }, 'and the connection still works')
  })
}

for (const url of DATABASE_URL === undefined ? [] : [DATABASE_URL]) {
  test('a statement that takes too long is cancelled, and the caller may come back', SLOW, async (t) => {
    const database = await openDatabase({ url, statementTimeoutMs: 150 })
    t.teardown(() => database.close())
    const started = Date.now()
    await t.rejects(database.query('select pg_sleep(5)'), {
      code: 'STORE_UNAVAILABLE',
      headers: { 'retry-after': '5' },
      cause: { code: '57014' },
    })
    t.ok(Date.now() - started < 3000)
    t.match(await readStats(database), { users: Number })
  })

  test('of two statements that wait for each other one may come back at once', SLOW, async (t) => {
    const pool = new Pool({ connectionString: url, max: 2 })
    const [one, two] = [await pool.connect(), await pool.connect()]
    const database = await openDatabase({ url })
    t.teardown(async () => { one.release(); two.release(); await pool.end(); await database.close() })
    const users = createUsers(database)
    const [a, b] = [await users.create(newUser()), await users.create(newUser())]
    const lock = 'select 1 from users where id = $1 for update'
    for (const [client, { id }] of [[one, a], [two, b]] as const) {
      await client.query('begin')
      await client.query(lock, [id])
    }
    const results = await Promise.allSettled([one.query(lock, [b.id]), two.query(lock, [a.id])])
    const failed = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult
    t.match(mapDatabaseError(failed.reason, lock), {
      code: 'STORE_UNAVAILABLE',
      headers: { 'retry-after': '1' },
      cause: { code: '40P01' },
    })
    await one.query('rollback')
    await two.query('rollback')
  })
}

test('a Postgres that is not there is reported without its URL', SLOW, async (t) => {
  const error = await t.rejects(openDatabase({ url: 'postgres://app:hunter2@127.0.0.1:1/app' }), {
    message: 'The database behind DATABASE_URL cannot be used.',
  })
  t.notMatch(inspect(error), /hunter2/)
})

test('a PGlite directory keeps its data, and is open in one process at a time', SLOW, async (t) => {
  const parent = workingDirectory(t)
  const directory = join(parent, 'below', 'pglite')
  const first = await openDatabase({ directory })
  const { id } = await createUsers(first).create(newUser())
  t.equal(readFileSync(`${directory}.lock`, 'utf8'), String(process.pid))
  await first.close()
  t.notOk(existsSync(`${directory}.lock`))
  const second = await openDatabase({ directory })
  t.equal((await createUsers(second).find(id))?.id, id)
  await second.close()

  writeFileSync(`${directory}.lock`, String(process.ppid))
  await t.rejects(openDatabase({ directory }), {
    name: 'DatabaseInUseError',
    message: new RegExp(`Process ${process.ppid} `),
  })
  t.ok(existsSync(`${directory}.lock`), 'the lock of the other process stays')
})

test('the lock file of a process that is gone does not count', (t) => {
  const parent = workingDirectory(t)
  // Above the kernel's largest process id; not a number; our own id after a restart in a container.
  for (const left of ['99999999', 'garbage', '', String(process.pid)]) {
    writeFileSync(join(parent, 'data.lock'), left)
    const unlock = lockDirectory(join(parent, 'data'))
    t.equal(readFileSync(join(parent, 'data.lock'), 'utf8'), String(process.pid))
    unlock()
  }
  t.end()
})

test('an error of the database gets a safe meaning, and keeps its words for the log', (t) => {
  const cases = [
    [{ code: '23505' }, 'CONFLICT'],
    [{ code: '57014' }, 'STORE_UNAVAILABLE'],
    [{ code: '57P01' }, 'STORE_UNAVAILABLE'],
    [{ code: '08006' }, 'STORE_UNAVAILABLE'],
    [{ code: '53300' }, 'STORE_UNAVAILABLE'],
    [{ code: '40001' }, 'STORE_UNAVAILABLE'],
    [{ code: '40P01' }, 'STORE_UNAVAILABLE'],
    [{ code: '55P03' }, 'STORE_UNAVAILABLE'],
    [{ code: '23P01' }, 'CONFLICT'],
    [{ code: '23001' }, 'CONFLICT'],
    [{ code: '23502' }, 'UNPROCESSABLE'],
    [{ code: '23514' }, 'UNPROCESSABLE'],
    [{ code: '23503' }, 'NOT_FOUND'],
    [{ code: '42703' }, '42703'],
    [{ code: 'ECONNREFUSED' }, 'STORE_UNAVAILABLE'],
    [{ code: '22021' }, '22021'],
    [{ code: 5 }, 5],
  ] as const
  for (const [{ code }, expected] of cases) {
    const error = Object.assign(new Error('duplicate key "ada@example.com"'), { code })
    const mapped = mapDatabaseError(error, 'insert into x select 1 -- delete')
    t.match(mapped, { code: expected })
    if (mapped === error) continue
    t.match(mapped, { cause: error })
    t.notMatch((mapped as Error).message, /ada/)
  }
  t.match(mapDatabaseError({ code: '23503' }, '\n Delete from x'), { code: 'CONFLICT' })
  t.equal(mapDatabaseError(null, ''), null)
  t.end()
})

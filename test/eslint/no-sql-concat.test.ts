import { ESLint, Linter, type Rule } from 'eslint'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'tap'
import tseslint from 'typescript-eslint'
import { ROOT } from '../helpers/root.js'

const { default: rule } = await import(pathToFileURL(join(ROOT, 'scripts', 'eslint', 'no-sql-concat.js')).href) as {
  default: Rule.RuleModule
}

/** What the rule says to a piece of TypeScript. */
function verdict (code: string): string[] {
  const messages = new Linter().verify(code, [{
    files: ['**/*.ts'],
    languageOptions: { parser: tseslint.parser },
    plugins: { local: { rules: { 'no-sql-concat': rule } } },
    rules: { 'local/no-sql-concat': ['error', { imported: ['SCHEMA'] }] },
  }], 'a.ts')
  return messages.map(({ messageId, message }) => messageId ?? message)
}

const FINE: readonly string[] = [
  "db.query('select 1')",
  'db.query(`select 1\n from x where id = $1`, [id])',
  "db?.query('select 1')",
  "db['query']('select 1')",
  "const SQL = 'select 1'; db.query(SQL)",
  'const A = `select 1`; const B = A; db.query(B)',
  "const SQL = 'select 1' as const; db.query(SQL)",
  "db.query(descending ? 'select 1 desc' : 'select 1 asc')",
  "db.query({ text: 'select $1', values: [id] })",
  "import { SCHEMA } from './migrations.js'; client.query(SCHEMA)",
  'const database = { async query (text, params) { return pool.query(text, params) } }',
  'class Database { query (text: string, params: unknown[]) { return this.pool.query(text, params) } }',
  'const limit = request.query.limit',
  'const { query } = request; use(query.limit)',
  'db.queryAll(`${x}`)',
]

const REFUSED: readonly (readonly [code: string, ...verdicts: string[]])[] = [
  ['db.query(`select ${id}`)', 'dynamic'],
  ["db.query('select ' + id)", 'dynamic'],
  ["db.query('select ' + '1')", 'dynamic'],
  ["db.query('select '.concat(id))", 'dynamic'],
  ["db.query(['select', id].join(' '))", 'dynamic'],
  ['db.query(sql`select ${id}`)', 'dynamic'],
  ['db.query(text)', 'dynamic'],
  ['function run (text) { return db.query(text) }', 'dynamic'],
  ["let sql = 'select 1'; sql += id; db.query(sql)", 'dynamic'],
  ["var sql = 'select 1'; db.query(sql)", 'dynamic'],
  ['const sql = `select ${id}`; db.query(sql)', 'dynamic'],
  ['const sql = build(); db.query(sql)', 'dynamic'],
  ['const { sql } = texts; db.query(sql)', 'dynamic'],
  ['const a = b; const b = a; db.query(a)', 'dynamic'],
  ["import { OTHER } from './migrations.js'; db.query(OTHER)", 'dynamic'],
  ["const SCHEMA = build(); db.query(SCHEMA)", 'dynamic'],
  ["db.query(flag ? 'select 1' : other)", 'dynamic'],
  ['db.query({ text: `select ${id}` })', 'dynamic'],
  ["db.query({ text: 'select 1', ...more })", 'dynamic'],
  ["db.query({ text: 'select 1', [name]: sql })", 'dynamic'],
  ["db.query({ text: 'select 1', text: sql })", 'dynamic'],
  ['db.query(config)', 'dynamic'],
  ['db.query(...args)', 'dynamic'],
  ['db.query(texts.one)', 'dynamic'],
  ['db.query(5)', 'dynamic'],
  ['db.query()', 'missing'],
  ['db?.query(`${id}`)', 'dynamic'],
  ['db?.["query"](`${id}`)', 'dynamic'],
  ['db[`query`](`${id}`)', 'dynamic'],
  ['db!.query!(`${id}`)', 'dynamic'],
  ['this.#db.query(`${id}`)', 'dynamic'],
  ['const { query } = db; query(`${id}`)', 'dynamic'],
  ['db.query`select ${id}`', 'dynamic'],
  ["db.query.call(db, 'select 1')", 'indirect'],
  ['db.query.apply(db, args)', 'indirect'],
  ['const run = db.query.bind(db)', 'indirect'],
  ['const database = { query (text) { text += id; return pool.query(text) } }', 'dynamic'],
  ['const database = { query (params, text) { return pool.query(text) } }', 'dynamic'],
  ['const database = { query ({ text }) { return pool.query(text) } }', 'dynamic'],
  ['const database = { other (text) { return pool.query(text) } }', 'dynamic'],
  ['db.query(`select ${a}`); db.query("select " + b)', 'dynamic', 'dynamic'],
]

test('statements that are constants pass', async (t) => {
  for (const code of FINE) t.same(verdict(code), [], code)
})

test('a statement that is put together at run time is refused', async (t) => {
  for (const [code, ...expected] of REFUSED) t.same(verdict(code), expected, code)
})

test('an unknown option of the rule is refused', async (t) => {
  t.throws(
    () =>
      new Linter().verify('', [{
        plugins: { local: { rules: { rule } } },
        rules: { 'local/rule': ['error', { import: [] }] },
      }]),
    /additional properties|Unexpected property/,
  )
})

test('`npm run lint` holds the rule over the example server and its tests', async (t) => {
  const eslint = new ESLint({ cwd: ROOT })
  for (
    const file of [
      'example-server/repositories/users.ts',
      'example-server/database/postgres.ts',
      'test/example-server/database.test.ts',
    ]
  ) {
    const config = await eslint.calculateConfigForFile(join(ROOT, file)) as { rules: Record<string, unknown[]> }
    t.match(config.rules['local/no-sql-concat'], [2], file)
  }
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  t.equal(scripts['lint'], 'eslint .')
})

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'tap'
import { ROOT } from './helpers/root.js'

interface Module { readonly path: string, readonly source: string, readonly imports: readonly string[] }

function modules (): Module[] {
  const files = ['index.ts', 'server.ts', 'definition.ts']
  for (const folder of ['plugins', 'lib']) {
    for (const entry of readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
      if (entry.endsWith('.ts')) files.push(join(folder, entry))
    }
  }
  return files.map((path) => {
    const source = readFileSync(join(ROOT, path), 'utf8')
    const imports = [...source.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map((match) =>
      relative(ROOT, join(ROOT, dirname(path), match[1] ?? '')).replace(/\.js$/, '.ts')
    )
    return { path, source, imports }
  })
}

const ALL = modules()
const named = (path: string): boolean => path.startsWith('plugins/') && path !== 'plugins/umbrella.ts'

/** What each layer may import; `lib/response/errors.ts` stands below everything. */
function mayImport (from: string, to: string): boolean {
  if (from === 'lib/response/errors.ts') return false
  if (from.startsWith('lib/')) return to.startsWith('lib/')
  if (named(from)) return to.startsWith('lib/')
  if (from === 'definition.ts') return to.startsWith('lib/') || named(to)
  if (from === 'plugins/umbrella.ts') return to.startsWith('lib/') || named(to) || to === 'definition.ts'
  if (from === 'server.ts') return to !== 'index.ts'
  return from === 'index.ts'
}

/** Comments and messages may speak of what the code must not do. */
function withoutTexts (source: string): string {
  return source.replace(/\/\*[^]*?\*\/|\/\/.*|'(?:[^'\\\n]|\\.)*'|`[^`]*`/g, '')
}

test('the imports follow the arrows: index, server, umbrella, plugins, lib, errors', async (t) => {
  t.ok(ALL.length > 30, 'the walk found the modules')
  for (const { path, imports } of ALL) {
    for (const target of imports) {
      t.ok(ALL.some((module) => module.path === target), `${path} imports ${target}, which exists`)
      t.ok(mayImport(path, target), `${path} may import ${target}`)
    }
  }
})

test('no module imports itself through others', async (t) => {
  const runtime = new Map(
    ALL.map(({ path, source }) => [
      path,
      [...source.matchAll(/^(?:import|export) (?!type )[^']*from '(\.[^']+)'/gm)]
        .map((match) => relative(ROOT, join(ROOT, dirname(path), match[1] ?? '')).replace(/\.js$/, '.ts')),
    ]),
  )
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) {
      t.fail(`cycle: ${[...trail, path].join(' -> ')}`)
      return
    }
    for (const next of runtime.get(path) ?? []) visit(next, [...trail, path])
  }
  visit('index.ts', [])
  t.pass('walked')
})

test('lib never registers a plugin, and the index holds exports only', async (t) => {
  for (const { path, source } of ALL) {
    if (path.startsWith('lib/')) t.notMatch(withoutTexts(source), /\.register\(/, path)
  }
  const index = readFileSync(join(ROOT, 'index.ts'), 'utf8').replaceAll(/,\n\s+/g, ', ')
  for (const line of index.split('\n')) if (line !== '') t.match(line, /^export (type )?\{.*\} from '/)
})

test('a room that is named after a plugin is used by that plugin alone', async (t) => {
  const owners: Record<string, string[]> = {
    headers: ['plugins/headers.ts', 'definition.ts'],
    cors: ['plugins/cors.ts'],
    csrf: ['plugins/csrf.ts'],
    transport: ['plugins/transport.ts', 'server.ts'],
    'rate-limit': ['plugins/rate-limit.ts'],
    auth: ['plugins/auth.ts'],
    validation: ['plugins/validation.ts', 'plugins/posture.ts'],
  }
  for (const { path, imports } of ALL) {
    for (const target of imports) {
      const room = /^lib\/([a-z-]+)\//.exec(target)?.[1] ?? ''
      const own = owners[room]
      if (own === undefined || path.startsWith(`lib/${room}/`)) continue
      t.ok(own.includes(path), `${path} may use the room ${room}`)
    }
  }
})

test('nothing of the core imports the secret sources', async (t) => {
  for (const { path, imports } of ALL) {
    if (path.startsWith('lib/secrets/')) continue
    t.same(imports.filter((target) => target.startsWith('lib/secrets/') || target === 'secrets.ts'), [], path)
  }
})

test('every plugin says at its top what it guarantees, and nothing suppresses the compiler or the linter', async (t) => {
  for (const { path, source } of ALL) {
    if (path.startsWith('plugins/')) t.ok(source.startsWith('/**'), `${path} starts with its guarantee`)
    t.notMatch(source, /@ts-(ignore|nocheck|expect-error)|eslint-disable|\bas any\b|: any\b/, path)
  }
})

/** Two answers to one question is how bypasses begin: what each question is decided by stands in one file. */
const OWNERS: readonly { readonly question: string, readonly owner: string, readonly sign: RegExp }[] = [
  {
    question: 'What is a preflight?',
    owner: 'lib/net/preflight.ts',
    sign: /access-control-request-method['"]?\]? *(?:[!=]==|in\b)/i,
  },
  { question: 'What is in a CIDR range?', owner: 'lib/net/cidr.ts', sign: /\bisIP\b[^]*\.split\('\/'\)/ },
  { question: 'What is a Bearer token?', owner: 'lib/net/bearer.ts', sign: /\^bearer\b/i },
  { question: 'What is a WebSocket upgrade?', owner: 'lib/net/websocket.ts', sign: /\bwebsocket\(\?:/i },
  { question: 'What is an origin?', owner: 'lib/net/origin.ts', sign: /\.origin === \w+$/m },
  { question: 'What is a wildcard of origins?', owner: 'lib/net/origin.ts', sign: /'\/\/\*\.'/ },
]

test('each question has one owner', async (t) => {
  for (const { question, owner, sign } of OWNERS) {
    const answers = ALL.filter(({ source }) => sign.test(source.replaceAll(/\/\*[^]*?\*\/|^\s*\/\/.*/gm, '')))
    t.strictSame(answers.map(({ path }) => path), [owner], question)
  }
})

test('no module imports a private module of a dependency', async (t) => {
  // The entry that Ajv documents for the 2019 draft of JSON Schema.
  const documented = ['ajv/dist/2019.js']
  for (const { path, source } of ALL) {
    const deep = [...source.matchAll(/(?:from|import\()\s*'((?:@[^/']+\/)?[a-z][^/':]*\/[^']+)'/g)].map((match) =>
      match[1] ?? ''
    )
    const isPrivate = (name: string): boolean => /\/(?:dist|lib|src)\//.test(name) && !documented.includes(name)
    t.same(deep.filter(isPrivate), [], path)
  }
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import root, { test } from 'tap'
import ts from 'typescript'
import { ERROR_CATALOGUE } from '../index.js'
import { ROOT } from './helpers/root.js'

// The compiler reads every page with all types of the suite.
root.setTimeout(180_000)

interface Block { readonly source: string, readonly language: string, readonly code: string }

const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
]

function blocksOf (page: string): Block[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].map((match, index) => ({
    source: `${page}#${index + 1}`,
    language: match[1] ?? '',
    code: match[2] ?? '',
  }))
}

const BLOCKS = PAGES.flatMap(blocksOf)

/** Inside the repository, so that the blocks import the package by its name as a user does. */
const FOLDER = join(ROOT, 'dist', 'test', 'docs-blocks')

function writeBlock (block: Block): string {
  mkdirSync(FOLDER, { recursive: true })
  const file = join(FOLDER, `${block.source.replace(/\W+/g, '-')}.ts`)
  writeFileSync(file, `${block.code}\nexport {}\n`)
  return file
}

test('every TypeScript block of the README and the docs compiles', { timeout: 180_000 }, async (t) => {
  const blocks = BLOCKS.filter(({ language }) => language === 'ts')
  const sources = new Map(blocks.map((block) => [writeBlock(block), block.source]))
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config,
    ts.sys,
    ROOT,
  )
  const program = ts.createProgram([...sources.keys()], {
    ...options,
    noEmit: true,
    incremental: false,
    tsBuildInfoFile: undefined as never,
  })
  const found = new Map<string, string[]>()
  for (const { file, messageText } of ts.getPreEmitDiagnostics(program)) {
    const source = sources.get(file?.fileName ?? '') ?? file?.fileName ?? ''
    found.set(source, [...found.get(source) ?? [], ts.flattenDiagnosticMessageText(messageText, '\n')])
  }
  t.ok(sources.size > 8, 'there are blocks')
  for (const source of sources.values()) t.same(found.get(source) ?? [], [], source)
  for (const source of found.keys()) t.ok([...sources.values()].includes(source), `${source} has problems`)
})

test('code blocks are of a language that is checked or plainly is no code', async (t) => {
  for (const { language, source } of BLOCKS) {
    t.ok(['ts', 'sh', 'console', 'http', 'json', 'text', 'env'].includes(language), `${source}: ${language}`)
  }
})

test('the first service of the README runs as it says', async (t) => {
  const block = BLOCKS.find(({ source, language }) => source.startsWith('README') && language === 'ts')
  const compiled = ts.transpile(block?.code ?? '', { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 })
  t.ok((block?.code ?? '').trim().split('\n').length <= 24, 'it is about twenty lines')
  mkdirSync(FOLDER, { recursive: true })
  const file = join(FOLDER, 'first-service.mjs')
  writeFileSync(file, compiled)
  const child = spawn(process.execPath, [file], {
    cwd: FOLDER,
    env: { PATH: process.env['PATH'], PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  let base = ''
  for await (const line of createInterface({ input: child.stdout })) {
    base = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? ''
    if (base !== '') break
  }
  child.stdout.resume()
  const json = { 'content-type': 'application/json' }
  const login = async (password: string): Promise<Response> =>
    fetch(`${base}/auth/login`, {
      method: 'POST',
      headers: json,
      body: JSON.stringify({ email: 'ada@example.com', password }),
    })
  t.equal((await fetch(`${base}/status`)).status, 200)
  t.equal((await fetch(`${base}/me`)).status, 401)
  const signedIn = await login('correct horse')
  t.same(await signedIn.json(), { user: { id: 'u1', roles: ['admin'] } })
  const cookie = signedIn.headers.getSetCookie().map((text) => text.split(';')[0]).join('; ')
  t.same(await (await fetch(`${base}/me`, { headers: { cookie } })).json(), { id: 'u1', roles: ['admin'] })
  t.same(await (await fetch(`${base}/search?q=x`, { headers: { cookie } })).json(), { found: 'x' })
  t.equal((await fetch(`${base}/search?q=x&page=1`, { headers: { cookie } })).status, 400)
  t.equal((await fetch(`${base}/admin`, { headers: { cookie } })).status, 200)
  const statuses: number[] = []
  for (let guess = 0; guess < 6; guess++) statuses.push((await login('wrong')).status)
  t.same(statuses, [401, 401, 401, 401, 401, 429])
  child.kill('SIGTERM')
  await once(child, 'exit')
})

test('docs/errors.md lists exactly the codes of the catalogue', async (t) => {
  const text = readFileSync(join(ROOT, 'docs', 'errors.md'), 'utf8')
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (.*) \|$/gm)].map(([, code, status, detail]) => ({
    code,
    status: Number(status),
    detail,
  }))
  t.same(rows, Object.entries(ERROR_CATALOGUE).map(([code, { status, detail }]) => ({ code, status, detail })))
})

test('every link between the pages leads somewhere, and no page names a machine or how the work was organized', async (t) => {
  for (const page of PAGES) {
    const text = readFileSync(join(ROOT, page), 'utf8')
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      t.doesNotThrow(() => readFileSync(join(ROOT, page, '..', target ?? '')), `${page} links ${target ?? ''}`)
    }
    t.notMatch(text, /\/work\/|\/tmp\/|registry\.npmjs|issue #?\d/i, page)
  }
})

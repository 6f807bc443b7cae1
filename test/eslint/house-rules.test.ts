import { Linter, type Rule } from 'eslint'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'tap'
import tseslint from 'typescript-eslint'
import { ROOT } from '../helpers/root.js'

async function load (name: string): Promise<Rule.RuleModule> {
  const module = await import(pathToFileURL(join(ROOT, 'scripts', 'eslint', `${name}.js`)).href) as {
    default: Rule.RuleModule
  }
  return module.default
}

function verdict (rule: Rule.RuleModule, code: string): string[] {
  const messages = new Linter().verify(code, [{
    files: ['**/*.ts'],
    languageOptions: { parser: tseslint.parser },
    plugins: { local: { rules: { rule } } },
    rules: { 'local/rule': 'error' },
  }], 'a.ts')
  return messages.map(({ message }) => message)
}

test('a hard word is refused in a string, a template and a comment, and its name in code is not', async (t) => {
  const rule = await load('plain-english')
  const refused = [
    ["throw new Error('Nobody may do this.')", /^"Nobody"/],
    ['const a = `${b}: whatever`', /^"whatever"/],
    ['// whoever asks\n', /^"whoever"/],
    ['/** An error, and how to mend it. */', /^"mend"/],
    ['/* what is told apart */', /^"told apart"/],
  ] as const
  for (const [code, message] of refused) t.match(verdict(rule, code), [message], code)
  for (const code of ['const nobody = 1', "const a = 'amend the commit, endear'", '// fixes it\n'])
    { t.same(verdict(rule, code), [], code) }
})

test('a module that its package does not export is refused, however it is loaded', async (t) => {
  const rule = await load('no-private-modules')
  const refused = [
    "import x from 'ajv/dist/core.js'",
    "import type { A } from 'find-my-way/lib/a'",
    "export * from '@scope/pkg/build/a.js'",
    "export { a } from 'pkg/src/a.js'",
    "const a = await import('@scope/pkg/lib/a.js')",
    "type A = import('ajv/dist/core.js').B",
    "const a = require('ajv/dist/core.js')",
    "const a = load('ajv/lib/core.js')",
  ]
  for (const code of refused) t.same(verdict(rule, code).length, 1, code)
  const fine = [
    "import x from 'ajv'",
    "import x from 'ajv/lib'",
    "import x from '@fastify/env'",
    "import x from './lib/a.js'",
    "import x from '../dist/lib/a.js'",
    "import x from 'node:fs/promises'",
    "const a = join(ROOT, 'x/lib/a')",
  ]
  for (const code of fine) t.same(verdict(rule, code), [], code)
})

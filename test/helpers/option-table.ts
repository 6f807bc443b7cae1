import type { TSchema } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { BulwarkConfigError, type Problem } from '../../lib/response/errors.js'

/** What a test knows of one option. */
export interface Row {
  /** Values that work; the first is also tried frozen and without a prototype. */
  readonly good: readonly [unknown, ...unknown[]]
  /** Values of the right type that are refused: one beyond each bound, empty, with line breaks. */
  readonly bad?: readonly unknown[]
  /** Which of the wrong types below are no wrong type for this option. */
  readonly fine?: readonly (keyof typeof TYPES)[]
  /** Options that have to stand beside it. */
  readonly beside?: Readonly<Record<string, unknown>>
}

/** One value of each type. */
const TYPES = {
  number: 5,
  text: 'x',
  true: true,
  false: false,
  null: null,
  list: [],
  object: {},
  bigint: 5n,
  symbol: Symbol('x'),
  function: () => 1,
  NaN: NaN,
} as const

/** A place where the same options may be written. */
export interface Door {
  readonly name: string
  /** How a problem's path begins. */
  readonly where: string
  readonly build: (options: unknown) => Promise<FastifyInstance>
  /** Tries every value. Behind the other doors stands the same check, so there each option gets some, in turn. */
  readonly thorough?: true
}

/** The path of every option in a schema, nested ones and those of a union's object included. */
export function optionPaths (schema: TSchema, prefix = ''): string[] {
  const variants = Array.isArray(schema['anyOf']) ? schema['anyOf'] as TSchema[] : [schema]
  return variants.flatMap(({ properties }) => Object.entries((properties ?? {}) as Record<string, TSchema>)
    .flatMap(([name, own]) => [`${prefix}${name}`, ...optionPaths(own, `${prefix}${name}.`)]))
}

function nested (
  path: string,
  value: unknown,
  beside: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const [name = '', ...rest] = path.split('.')
  return { [name]: rest.length === 0 ? value : { ...beside, ...nested(rest.join('.'), value) } }
}

async function problemsOf (door: Door, options: unknown): Promise<readonly Problem[]> {
  return door.build(options).then(async (app) => { await app.close(); return [] }, (error: unknown) => {
    if (error instanceof BulwarkConfigError) return error.problems
    throw error
  })
}

/** A row for each option of the schema, and none for an option that is not there. */
export function checkRows (t: Test, schema: TSchema, rows: Readonly<Record<string, Row>>): void {
  t.strictSame(Object.keys(rows).sort(), optionPaths(schema).sort(), 'every option has a row')
}

/** Wrong types and values beyond the bounds are refused; the problem names the option and says what to write. */
export async function checkRefusals (t: Test, door: Door, rows: Readonly<Record<string, Row>>): Promise<void> {
  for (const [at, [path, { bad = [], fine = [], beside }]] of Object.entries(rows).entries()) {
    const top = `${door.where}.${path.split('.')[0] ?? ''}`
    const wrong = [
      ...Object.entries(TYPES).filter(([type]) => !fine.includes(type as keyof typeof TYPES)).map(([, value]) => value),
      ...bad,
    ]
      .filter((_value, index) => door.thorough === true || index % 5 === at % 5)
    const passed: unknown[] = []
    for (const value of wrong) {
      const problems = await problemsOf(door, nested(path, value, beside))
      const [first] = problems
      if (
        first?.path !== top && first?.path.startsWith(`${top}.`) !== true && first?.path.startsWith(`${top}[`) !== true
      ) passed.push({ value, problems })
      else if (problems.some(({ message, fix }) => fix.trim() === '' || message.trim() === '')) {
        passed.push({ value, problems })
      }
    }
    t.strictSame(passed, [], `${door.name}: ${path} refuses ${wrong.length} values`)
  }
}

/** A misspelt name is refused with the right one, or, inside an option, with a fix that lists the names. */
export async function checkMisspelt (
  t: Test,
  door: Door,
  rows: Readonly<Record<string, Row>>,
  oldNames: readonly string[] = [],
): Promise<void> {
  for (const [path, { good: [value], beside }] of Object.entries(rows)) {
    const name = path.split('.').at(-1) ?? ''
    for (
      const typo of [
        `${name}s`,
        name.slice(0, -1),
        `${name.slice(0, 1)}${name.slice(2, 3)}${name.slice(1, 2)}${name.slice(3)}`,
      ].filter((text) => !(text in rows) && !oldNames.includes(text)).slice(0, door.thorough === true ? 3 : 1)
    ) {
      const isTop = !path.includes('.')
      const [problem] = await problemsOf(
        door,
        nested(`${path.slice(0, path.length - name.length)}${typo}`, value, beside),
      )
      t.match(problem?.fix, isTop ? `Did you mean "${name}"?` : name, `${door.name}: ${typo}`)
      t.ok(
        problem?.path.startsWith(`${door.where}.${isTop ? typo : path.split('.')[0] ?? ''}`),
        `${door.name}: ${typo} is named`,
      )
    }
  }
}

/** `undefined` is as good as absent; frozen options, and such without a prototype, work and are left as they were. */
export async function checkHarmless (
  t: Test,
  door: Door,
  rows: Readonly<Record<string, Row>>,
  answersOf: (app: FastifyInstance) => Promise<unknown>,
): Promise<void> {
  const answers = async (options: unknown): Promise<unknown> => {
    const app = await door.build(options)
    const found = await answersOf(app)
    await app.close()
    return found
  }
  for (const [at, [path, { good, beside }]] of Object.entries(rows).entries()) {
    if (door.thorough !== true && Object.keys(rows).length > 10 && at % 6 !== 0) continue
    const [value] = good
    const parent = path.includes('.') && beside !== undefined
      ? nested(path.slice(0, path.lastIndexOf('.')), beside)
      : path.split('.').slice(0, -1).reduceRight<Record<string, unknown>>((inner, name) => ({ [name]: inner }), {})
    if (!isRequired(path)) {
      t.same(
        await answers(nested(path, undefined, beside)),
        await answers(parent),
        `${door.name}: ${path} undefined is absent`,
      )
    }
    const plain = await answers(nested(path, value, beside))
    for (
      const [form, options] of [['frozen', frozen(nested(path, value, beside))], [
        'without a prototype',
        bare(nested(path, value, beside)),
      ]] as const
    ) {
      const before = JSON.stringify(options)
      t.same(await answers(options), plain, `${door.name}: ${path} ${form}`)
      t.equal(JSON.stringify(options), before, `${door.name}: ${path} is left as it was`)
    }
    for (const other of good.slice(1)) {
      t.strictSame(
        await problemsOf(door, nested(path, other, beside)),
        [],
        `${door.name}: ${path} takes number ${good.indexOf(other)}`,
      )
    }
  }
}

/** An option that its object cannot do without: leaving it out is refused. */
const isRequired = (path: string): boolean => /\.(?:action|policy|endpoint)$/.test(path)

function frozen (value: unknown): unknown {
  if (typeof value === 'object' && value !== null && !(value instanceof RegExp)) for (const member of Object.values(value)) frozen(member)
  return Object.freeze(value)
}

function bare (value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof RegExp) return value
  return Object.assign(
    Object.create(null) as object,
    Object.fromEntries(Object.entries(value).map(([name, member]) => [name, bare(member)])),
  )
}

/** Answers without what differs each time. */
export async function answersTo (
  app: FastifyInstance,
  requests: readonly { method?: 'GET' | 'POST' | 'OPTIONS', url?: string, headers?: Record<string, string> }[],
): Promise<unknown> {
  const found: unknown[] = []
  for (const request of requests) {
    const { statusCode, headers } = await app.inject({ url: '/', ...request })
    found.push({ statusCode, headers: { ...headers, date: '', 'x-request-id': '', ratelimit: '' } })
  }
  return found
}

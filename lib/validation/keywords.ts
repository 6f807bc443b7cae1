import { _, type Ajv, type FuncKeywordDefinition, type KeywordCxt } from 'ajv'
import { not, or } from 'ajv/dist/compile/codegen/index.js'
import { useFunc } from 'ajv/dist/compile/util.js'
import ucs2length from 'ajv/dist/runtime/ucs2length.js'
import { usePattern } from 'ajv/dist/vocabularies/code.js'
import { isSchema } from './json-schema.js'

export type CharacterKind = 'lower' | 'upper' | 'digit' | 'special'

const CHARACTERS: Readonly<Record<CharacterKind, RegExp>> = {
  lower: /\p{Ll}/u,
  upper: /\p{Lu}/u,
  digit: /\d/,
  special: /[^\p{L}\p{N}\p{Z}\p{C}]/u,
}

/**
 * Control characters but tab and line breaks, and halves of a surrogate pair: text that stores, logs and terminals trip
 * over.
 */
const UNPRINTABLE = '[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\ud800-\\udfff]'
const UNPAIRED = '[\\ud800-\\udfff]'
/**
 * Beside these: the marks that turn the direction of writing (Trojan Source, CVE-2021-42574), and the byte order mark.
 */
const MARKS = '\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ufeff'
const UNSAFE_LINES = `[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\ud800-\\udfff${MARKS}]`
const UNSAFE_LINE = `[\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029\\ud800-\\udfff${MARKS}]`
const SURROUNDED = '^\\s|\\s$'

/** What a branch that is one text may say. */
const LITERAL: ReadonlySet<string> = new Set(['const', 'type', 'title', 'description'])
/** Comparing with more of them one by one would not be quicker. */
const MAX_TEXTS = 50

const isUnprintable = new RegExp(UNPRINTABLE, 'u')

/** What `bulwark:rest` leaves to the schema: the properties and list entries that it describes. */
export interface Described {
  readonly keys: readonly string[]
  readonly patterns: readonly string[]
  readonly entries: number
}

/**
 * Keywords that users write (docs/validation.md), and those that `guardedCopy` adds. `skipsLong` is for the pass that
 * lists all findings: a text that is too long already is not matched against its pattern. That pass compiles what was
 * judged before, so its keywords bring no schemas of their own, which Ajv would compile one by one.
 */
export function addKeywords (ajv: Ajv, skipsLong: boolean): void {
  ajv.addVocabulary(['unsafePattern'])
  ajv.addKeyword({ keyword: 'controls', schemaType: 'boolean' })
  for (const [keyword, patterns] of [
    ['bulwark:text', { plain: UNPRINTABLE, any: UNPAIRED }],
    ['safeText', { line: UNSAFE_LINE, lines: UNSAFE_LINES }],
  ] as const) {
    ajv.addKeyword({
      keyword,
      type: 'string',
      ...(!skipsLong && { metaSchema: { enum: Object.keys(patterns) } }),
      code (cxt: KeywordCxt) {
        cxt.fail(
          _`${
            usePattern(cxt, (patterns as Readonly<Record<string, string>>)[cxt.schema as string] ?? UNPRINTABLE)
          }.test(${cxt.data})`,
        )
      },
    })
  }
  ajv.addKeyword({
    keyword: 'bulwark:finite',
    schemaType: 'boolean',
    code (cxt: KeywordCxt) { cxt.fail(_`typeof ${cxt.data} == "number" && !isFinite(${cxt.data})`) },
  })
  ajv.addKeyword({
    keyword: 'trimmed',
    type: 'string',
    schemaType: 'boolean',
    code (cxt: KeywordCxt) { if (cxt.schema === true) cxt.fail(_`${usePattern(cxt, SURROUNDED)}.test(${cxt.data})`) },
  })
  ajv.addKeyword({ keyword: 'characters', type: 'string', ...(!skipsLong && { metaSchema: { type: 'array', items: { enum: Object.keys(CHARACTERS) }, uniqueItems: true } }), errors: true, compile: requireCharacters })
  ajv.addKeyword({ keyword: 'bulwark:keys', type: 'object', schemaType: 'boolean', validate: (_schema: boolean, data: object) => keysArePlain(data) })
  ajv.addKeyword({ keyword: 'bulwark:rest', type: ['object', 'array'], schemaType: 'object', compile: guardRest })
  countOnlyInDoubt(ajv)
  if (!skipsLong) askLiteralsFirst(ajv)
  if (skipsLong) guardPatterns(ajv)
}

/**
 * `minLength` and `maxLength` count characters, of which each takes one or two UTF-16 units. Ajv walks each text once
 * for either; only where the number of units leaves it open does it have to.
 */
function countOnlyInDoubt (ajv: Ajv): void {
  const { unicode } = ajv.opts as { readonly unicode?: boolean }
  if (unicode === false) return
  for (const keyword of ['minLength', 'maxLength']) {
    const definition = ajv.getKeyword(keyword)
    if (typeof definition !== 'object' || !('code' in definition)) throw new TypeError(`Ajv has no code for ${keyword}`)
    // In place: a text that is too long must be refused before a pattern or a format reads it.
    definition.code = function countCharacters (cxt: KeywordCxt) {
      const limit = cxt.schema as number
      const units = _`${cxt.data}.length`
      const characters = _`${useFunc(cxt.gen, ucs2length.default)}(${cxt.data})`
      cxt.fail(keyword === 'minLength'
        ? _`${units} < ${limit} || ${units} < ${limit * 2} && ${characters} < ${limit}`
        : _`${units} > ${limit * 2} || ${units} > ${limit} && ${characters} > ${limit}`)
    }
  }
}

/**
 * A choice of texts is a list of branches to Ajv, which makes an error object for each that does not fit, also beside
 * one that does. Whatever is one of the texts needs none of that; whatever is not goes through the branches, as before.
 */
function askLiteralsFirst (ajv: Ajv): void {
  const definition = ajv.getKeyword('anyOf')
  if (typeof definition !== 'object' || !('code' in definition)) throw new TypeError('Ajv has no code for anyOf')
  const { code } = definition
  definition.code = function codeOfChoice (cxt: KeywordCxt, type) {
    const texts = textsOf(cxt.schema)
    if (texts === null) code(cxt, type)
    else {cxt.gen.if(not(or(...texts.map((text) => _`${cxt.data} === ${text}`))), () => {
        cxt.gen.block(() => {
          code(cxt, type)
        })
      })}
  }
}

/** The texts of a choice between nothing else: with one of them, no branch coerces, fills in or notes anything. */
function textsOf (branches: unknown): string[] | null {
  if (!Array.isArray(branches) || branches.length > MAX_TEXTS) return null
  const texts = branches.map((branch: unknown) =>
    isSchema(branch) && Object.keys(branch).every((key) => LITERAL.has(key)) &&
      (branch['type'] ?? 'string') === 'string'
      ? branch['const']
      : null
  )
  return texts.every((text) => typeof text === 'string') ? texts : null
}

function requireCharacters (
  kinds: readonly CharacterKind[],
): ReturnType<NonNullable<FuncKeywordDefinition['compile']>> {
  const check: ReturnType<NonNullable<FuncKeywordDefinition['compile']>> = function hasCharacters (text: string) {
    const missing = kinds.filter((kind) => !CHARACTERS[kind].test(text))
    check.errors = missing.length === 0 ? [] : [{ keyword: 'characters', params: { missing } }]
    return missing.length === 0
  }
  return check
}

function keysArePlain (value: object): boolean {
  for (const key in value) if (isUnprintable.test(key)) return false
  return true
}

function guardRest ({ keys, patterns, entries }: Described): (value: unknown) => boolean {
  const described = new Set(keys)
  const expressions = patterns.map((pattern) => new RegExp(pattern, 'u'))
  return function isRestPlain (value) {
    if (Array.isArray(value)) return everyTextIsPlain(value.slice(entries))
    const rest: unknown[] = []
    for (const [key, member] of Object.entries(value as object)) {
      if (described.has(key)) continue
      if (isUnprintable.test(key)) return false
      if (!expressions.some((expression) => expression.test(key))) rest.push(member)
    }
    return everyTextIsPlain(rest)
  }
}

/**
 * Levels that a part may have where its schema leaves them open. A handler's own recursion, or JSON.stringify, ends
 * some thousands deeper.
 */
const MAX_OPEN_DEPTH = 500

/**
 * Level by level, because a body of a few kilobytes can nest deeper than the stack.
 * @throws RangeError for more levels than `MAX_OPEN_DEPTH`
 */
function everyTextIsPlain (level: readonly unknown[]): boolean {
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_OPEN_DEPTH) throw new RangeError('nested too deeply')
    const below: unknown[] = []
    for (const value of level) {
      if (typeof value === 'string') {
        if (isUnprintable.test(value)) return false
      } else if (Array.isArray(value)) {
        for (const entry of value) below.push(entry)
      } else if (typeof value === 'object' && value !== null) {
        for (const [key, member] of Object.entries(value)) {
          if (isUnprintable.test(key)) return false
          below.push(member)
        }
      }
    }
    level = below
  }
  return true
}

function guardPatterns (ajv: Ajv): void {
  ajv.removeKeyword('pattern')
  ajv.addKeyword({
    keyword: 'pattern',
    type: 'string',
    schemaType: 'string',
    code (cxt: KeywordCxt) {
      const { maxLength } = cxt.it.schema as { maxLength?: unknown }
      const mismatch = _`!${usePattern(cxt, cxt.schema as string)}.test(${cxt.data})`
      // A character takes at most two UTF-16 units.
      cxt.fail(typeof maxLength === 'number' ? _`${cxt.data}.length <= ${maxLength * 2} && ${mismatch}` : mismatch)
    },
  })
}

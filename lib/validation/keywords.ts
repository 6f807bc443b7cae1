import { _, type Ajv, type FuncKeywordDefinition, type KeywordCxt } from 'ajv'
import { usePattern } from 'ajv/dist/vocabularies/code.js'

export type CharacterKind = 'lower' | 'upper' | 'digit' | 'special'

const CHARACTERS: Readonly<Record<CharacterKind, RegExp>> = {
  lower: /\p{Ll}/u,
  upper: /\p{Lu}/u,
  digit: /\d/,
  special: /[^\p{L}\p{N}\p{Z}\p{C}]/u,
}

/** Control characters but tab and line breaks, and halves of a surrogate pair: text that stores, logs and terminals trip over. */
const UNPRINTABLE = '[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\ud800-\\udfff]'
const UNPAIRED = '[\\ud800-\\udfff]'
/** Beside these: the marks that turn the direction of writing (Trojan Source, CVE-2021-42574), and the byte order mark. */
const MARKS = '\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ufeff'
const UNSAFE_LINES = `[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\ud800-\\udfff${MARKS}]`
const UNSAFE_LINE = `[\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029\\ud800-\\udfff${MARKS}]`
const SURROUNDED = '^\\s|\\s$'

const isUnprintable = new RegExp(UNPRINTABLE, 'u')

/** What `bulwark:rest` leaves to the schema: the properties and list entries that it describes. */
export interface Described { readonly keys: readonly string[], readonly patterns: readonly string[], readonly entries: number }

/**
 * Keywords that users write (docs/validation.md), and those that `guardedCopy` adds. `skipsLong` is for the pass that
 * lists all findings: a text that is too long already is not matched against its pattern.
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
      metaSchema: { enum: Object.keys(patterns) },
      code (cxt: KeywordCxt) {
        cxt.fail(_`${usePattern(cxt, (patterns as Readonly<Record<string, string>>)[cxt.schema as string] ?? UNPRINTABLE)}.test(${cxt.data})`)
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
  ajv.addKeyword({ keyword: 'characters', type: 'string', metaSchema: { type: 'array', items: { enum: Object.keys(CHARACTERS) }, uniqueItems: true }, errors: true, compile: requireCharacters })
  ajv.addKeyword({ keyword: 'bulwark:keys', type: 'object', schemaType: 'boolean', validate: (_schema: boolean, data: object) => keysArePlain(data) })
  ajv.addKeyword({ keyword: 'bulwark:rest', type: ['object', 'array'], schemaType: 'object', compile: guardRest })
  if (skipsLong) guardPatterns(ajv)
}

function requireCharacters (kinds: readonly CharacterKind[]): ReturnType<NonNullable<FuncKeywordDefinition['compile']>> {
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

/** Iterative, because a body of a few kilobytes can nest deeper than the stack. */
function everyTextIsPlain (pending: unknown[]): boolean {
  while (pending.length > 0) {
    const next = pending.pop()
    if (typeof next === 'string') {
      if (isUnprintable.test(next)) return false
    } else if (Array.isArray(next)) {
      for (const entry of next) pending.push(entry)
    } else if (typeof next === 'object' && next !== null) {
      for (const [key, member] of Object.entries(next)) {
        if (isUnprintable.test(key)) return false
        pending.push(member)
      }
    }
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

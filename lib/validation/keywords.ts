import { _, type Ajv, type CodeKeywordDefinition, type FuncKeywordDefinition, type KeywordCxt } from 'ajv'

export type CharacterKind = 'lower' | 'upper' | 'digit' | 'special'

const CHARACTERS: Readonly<Record<CharacterKind, RegExp>> = {
  lower: /\p{Ll}/u,
  upper: /\p{Lu}/u,
  digit: /\d/,
  special: /[^\p{L}\p{N}\p{Z}\p{C}]/u,
}

/** Control characters but tab and line breaks, and unpaired surrogates: stores, logs and terminals misread them. */
const UNPRINTABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ud800-\udfff]/u
const UNPAIRED = /[\ud800-\udfff]/u
/** Also the marks that turn the direction of writing (Trojan Source, CVE-2021-42574), and the byte order mark. */
const MARKS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/u
const UNSAFE_LINES = new RegExp(`${UNPRINTABLE.source}|${MARKS.source}`, 'u')
const UNSAFE_LINE = new RegExp(`${UNSAFE_LINES.source}|[\\t\\n\\r\\u2028\\u2029]`, 'u')
const SURROUNDED = /^\s|\s$/u

/** What `bulwark:rest` leaves to the schema: the properties and list entries that it describes. */
export interface Described {
  readonly keys: readonly string[]
  readonly patterns: readonly string[]
  readonly entries: number
}

/** Adds the keywords that users write (docs/validation.md), and those that `guardedCopy` adds. */
export function addKeywords (ajv: Ajv): void {
  ajv.addVocabulary(['unsafePattern'])
  ajv.addKeyword({ keyword: 'controls', schemaType: 'boolean' })
  ajv.addKeyword(refusing('bulwark:text', { plain: UNPRINTABLE, any: UNPAIRED }))
  ajv.addKeyword(refusing('safeText', { line: UNSAFE_LINE, lines: UNSAFE_LINES }))
  ajv.addKeyword({
    keyword: 'trimmed',
    type: 'string',
    schemaType: 'boolean',
    code (cxt: KeywordCxt) { if (cxt.schema === true) failOnMatch(cxt, SURROUNDED) },
  })
  ajv.addKeyword({
    keyword: 'bulwark:finite',
    schemaType: 'boolean',
    code (cxt: KeywordCxt) { cxt.fail(_`typeof ${cxt.data} == "number" && !isFinite(${cxt.data})`) },
  })
  ajv.addKeyword({
    keyword: 'characters',
    type: 'string',
    metaSchema: { type: 'array', items: { enum: Object.keys(CHARACTERS) }, uniqueItems: true },
    errors: true,
    compile: requireCharacters,
  })
  ajv.addKeyword({
    keyword: 'bulwark:keys',
    type: 'object',
    schemaType: 'boolean',
    validate: (_schema: boolean, data: object) => !Object.keys(data).some((key) => UNPRINTABLE.test(key)),
  })
  ajv.addKeyword({
    keyword: 'bulwark:rest',
    type: ['object', 'array'],
    schemaType: 'object',
    compile: guardRest,
  })
  if (ajv.opts.allErrors === true) skipPatternsOfLongTexts(ajv)
}

/** A keyword whose value names the pattern that no text may match. */
function refusing (keyword: string, patterns: Readonly<Record<string, RegExp>>): CodeKeywordDefinition {
  return {
    keyword,
    type: 'string',
    metaSchema: { enum: Object.keys(patterns) },
    code (cxt: KeywordCxt) {
      const pattern = patterns[String(cxt.schema)]
      if (pattern !== undefined) failOnMatch(cxt, pattern)
    },
  }
}

function failOnMatch (cxt: KeywordCxt, pattern: RegExp): void {
  cxt.fail(_`${cxt.gen.scopeValue('pattern', { ref: pattern })}.test(${cxt.data})`)
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

function guardRest ({ keys, patterns, entries }: Described): (value: unknown) => boolean {
  const described = new Set(keys)
  const expressions = patterns.map((pattern) => new RegExp(pattern, 'u'))
  return function isRestPlain (value) {
    if (Array.isArray(value)) return everyTextIsPlain(value.slice(entries))
    const rest: unknown[] = []
    for (const [key, member] of Object.entries(value as object)) {
      if (described.has(key)) continue
      if (UNPRINTABLE.test(key)) return false
      if (!expressions.some((expression) => expression.test(key))) rest.push(member)
    }
    return everyTextIsPlain(rest)
  }
}

/** Levels that a value may have where its schema leaves it open. JSON.stringify fails some thousands deeper. */
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
        if (UNPRINTABLE.test(value)) return false
      } else if (Array.isArray(value)) {
        for (const entry of value) below.push(entry)
      } else if (typeof value === 'object' && value !== null) {
        for (const [key, member] of Object.entries(value)) {
          if (UNPRINTABLE.test(key)) return false
          below.push(member)
        }
      }
    }
    level = below
  }
  return true
}

/**
 * The pass that lists all findings goes on after `maxLength` failed. A pattern may be slow on a longer text, so it is
 * not asked then. A character has at most two UTF-16 units.
 */
function skipPatternsOfLongTexts (ajv: Ajv): void {
  const flags = ajv.opts.unicodeRegExp ? 'u' : ''
  ajv.removeKeyword('pattern')
  ajv.addKeyword({
    keyword: 'pattern',
    type: 'string',
    schemaType: 'string',
    compile (source: string, schema) {
      const pattern = ajv.opts.code.regExp(source, flags)
      const maxLength: unknown = schema['maxLength']
      const longest = typeof maxLength === 'number' ? maxLength * 2 : Infinity
      return (text: string) => text.length > longest || pattern.test(text)
    },
  })
}

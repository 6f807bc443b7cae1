/** A regular expression (flag `u`) as far as backtracking depends on it. */
export type Expression =
  | { readonly kind: 'atom', readonly source: string }
  | { readonly kind: 'sequence' | 'choice', readonly parts: readonly Expression[] }
  | { readonly kind: 'repeat', readonly body: Expression, readonly min: number, readonly max: number }
  | { readonly kind: 'look', readonly body: Expression, readonly behind: boolean }
  /** `start`: `^`. `end`: `$`. `border`: `\b`, which may fail but consumes nothing. */
  | { readonly kind: 'start' | 'end' | 'border' }

/** Thrown for what cannot be judged: back references and inline flags. */
export class NotJudged extends Error {}

const GROUP = /^\((?:\?(?::|(=|!)|(<=|<!)|<[^>]+>))?/
const QUANTIFIER = /^(?:[*+?]|\{(\d+)(,(\d*))?\})\??/
const ESCAPE = /^\\(?:u\{[0-9a-f]+\}|u[0-9a-f]{4}|x[0-9a-f]{2}|c[a-z]|p\{[^}]+\}|[^])/iu

/** Parses a pattern that `new RegExp(source, 'u')` has accepted. */
export function parsePattern (source: string): Expression {
  let at = 0
  const whole = choice()
  if (at < source.length) throw new NotJudged()
  return whole

  function choice (): Expression {
    const parts = [sequence()]
    while (source[at] === '|') {
      at++
      parts.push(sequence())
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: 'choice', parts }
  }

  function sequence (): Expression {
    const parts: Expression[] = []
    while (at < source.length && source[at] !== '|' && source[at] !== ')') parts.push(quantified(term()))
    return { kind: 'sequence', parts }
  }

  function quantified (body: Expression): Expression {
    const found = QUANTIFIER.exec(source.slice(at))
    if (found === null) return body
    at += found[0].length
    const symbol = found[0][0]
    if (symbol === '*') return { kind: 'repeat', body, min: 0, max: Infinity }
    if (symbol === '+') return { kind: 'repeat', body, min: 1, max: Infinity }
    if (symbol === '?') return { kind: 'repeat', body, min: 0, max: 1 }
    const min = Number(found[1])
    return {
      kind: 'repeat',
      body,
      min,
      max: found[2] === undefined ? min : found[3] === '' ? Infinity : Number(found[3]),
    }
  }

  function term (): Expression {
    switch (source[at]) {
      case '^': at++; return { kind: 'start' }
      case '$': at++; return { kind: 'end' }
      case '(': return group()
      case '[': return atom(classLength(source, at))
      case '\\': return escape()
      default: return atom(String.fromCodePoint(source.codePointAt(at) ?? 0).length)
    }
  }

  function group (): Expression {
    const [opening = '', ahead, behind] = GROUP.exec(source.slice(at)) ?? []
    if (opening === '(' && source[at + 1] === '?') throw new NotJudged()
    at += opening.length
    const body = choice()
    at++
    return ahead === undefined && behind === undefined ? body : { kind: 'look', body, behind: behind !== undefined }
  }

  function escape (): Expression {
    const text = ESCAPE.exec(source.slice(at))?.[0] ?? ''
    if (/^\\[1-9k]/.test(text)) throw new NotJudged()
    if (text !== '\\b' && text !== '\\B') return atom(text.length)
    at += 2
    return { kind: 'border' }
  }

  function atom (length: number): Expression {
    const text = source.slice(at, at + length)
    at += length
    return { kind: 'atom', source: text }
  }
}

function classLength (source: string, from: number): number {
  let at = from + 1
  while (at < source.length && source[at] !== ']') at += source[at] === '\\' ? 2 : 1
  return at + 1 - from
}

import type { Problem } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'
import { nearest } from '../options/nearest.js'
import type { KeyPart } from './options.js'

export const PART_FIX = "Write 'ip', 'user', 'apiKey', { body: 'email' }, { header: 'x-tenant' } or a list of these."

/** RFC 9110, section 5.6.2: the characters of a header's name. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const NAMED_PARTS = ['ip', 'user', 'apiKey'] as const
const MAX_PARTS = 8

export function isHeaderName (text: string): boolean {
  return text.length <= 256 && HEADER_NAME.test(text)
}

/** `ip`, `body.email`: how problems and errors name a part. */
export function nameOfPart (part: KeyPart): string {
  if (typeof part === 'string') return part
  return 'body' in part ? `body.${part.body}` : `header.${part.header}`
}

/** True when the part comes out of the request's body: in most cases it names an account. */
export function isBodyPart (part: KeyPart): part is { readonly body: string } {
  return typeof part === 'object' && 'body' in part
}

/** Resolves one part or a list of parts; what cannot be read is a problem and left out. */
export function resolveParts (input: unknown, where: string, problems: Problem[]): readonly KeyPart[] {
  const list: readonly unknown[] = Array.isArray(input) ? input : [input]
  if (list.length === 0)
    {problems.push({ path: where, message: '`by` is empty: name at least one key part.', fix: PART_FIX })}
  if (list.length > MAX_PARTS) {
    problems.push({
      path: where,
      message: `Too many key parts (at most ${MAX_PARTS}).`,
      fix: `Write at most ${MAX_PARTS} parts.`,
    })
  }
  const parts: KeyPart[] = []
  const seen = new Set<string>()
  for (const [index, written] of list.slice(0, MAX_PARTS).entries()) {
    const at = Array.isArray(input) ? `${where}[${index}]` : where
    const part = resolvePart(written, at, problems)
    if (part === null) continue
    const name = nameOfPart(part)
    if (seen.has(name)) problems.push({ path: at, message: 'The same part twice.', fix: 'Name each part once.' })
    seen.add(name)
    parts.push(part)
  }
  return Object.freeze(parts)
}

function resolvePart (part: unknown, where: string, problems: Problem[]): KeyPart | null {
  const known = NAMED_PARTS.find((name) => name === part)
  if (known !== undefined) return known
  if (typeof part === 'string') {
    const near = nearest(part, NAMED_PARTS)
    problems.push({
      path: where,
      message: 'Unknown key part.',
      fix: near === null ? PART_FIX : `Did you mean '${near}'?`,
    })
    return null
  }
  if (isPlainObject(part)) {
    const [[kind, name] = ['', undefined], ...more] = Object.entries(part).filter(([, value]) => value !== undefined)
    if (more.length === 0 && typeof name === 'string' && name !== '') {
      if (kind === 'body') return Object.freeze({ body: name })
      if (kind === 'header' && isHeaderName(name)) return Object.freeze({ header: name.toLowerCase() })
    }
    const near = more.length === 0 && kind !== 'body' && kind !== 'header' ? nearest(kind, ['body', 'header']) : null
    if (near !== null) {
      problems.push({ path: where, message: 'Unknown key part.', fix: `Did you mean { ${near}: … }?` })
      return null
    }
  }
  problems.push({ path: where, message: 'Unknown key part.', fix: PART_FIX })
  return null
}

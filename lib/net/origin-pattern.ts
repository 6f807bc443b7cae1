import { isOrigin } from './origin.js'
import type { Problem } from '../response/errors.js'
import { parsePattern } from './origin-grammar.js'

/** DNS names end at 253 bytes; longer text is no origin, and nothing longer reaches a pattern. */
export const MAX_ORIGIN_LENGTH = 255

const FIX_ORIGIN =
  'Write scheme, host and port as browsers send it: https://app.example.com, without a path or a trailing slash.'

/**
 * Adds a problem for each entry that is neither an exact origin nor a pattern that only its writer's hosts can match.
 */
export function checkOrigins (entries: readonly unknown[], where: string, problems: Problem[]): (string | RegExp)[] {
  return entries.filter((entry, index): entry is string | RegExp => {
    const problem = entry instanceof RegExp ? patternProblem(entry) : originProblem(entry)
    if (problem !== null) problems.push({ path: `${where}[${index}]`, ...problem })
    return problem === null
  })
}

type Finding = Omit<Problem, 'path'>

function originProblem (entry: unknown): Finding | null {
  if (typeof entry === 'string' && isOrigin(entry)) return null
  const fix = entry === 'null' ?
    'Remove it: sandboxed frames and local files all share this origin.'
    : typeof entry === 'string' && entry.includes('*') ?
    'List each origin, or write an anchored pattern: /^https:\\/\\/[a-z0-9-]+\\.example\\.com$/.'
    : FIX_ORIGIN
  return { message: 'Not an exact origin.', fix }
}

function patternProblem (pattern: RegExp): Finding | null {
  const shape = parsePattern(pattern)
  if ('message' in shape) return shape
  const own = ownCopy(pattern)
  if (!shape.samples.every((sample) => isOrigin(sample) && own.test(sample))) {
    return { message: 'This pattern asks for something that no origin looks like.', fix: FIX_ORIGIN }
  }
  // What stands as an alternative in the pattern is its writer's choice.
  const written = new Set(shape.samples)
  for (
    const sample of new Set([
      ...shape.samples,
      ...shape.dotted.filter((text) => isOrigin(text) && own.test(text)),
    ])
  ) {
    const taken = hostileTo(sample).find((hostile) =>
      !written.has(hostile) && own.test(hostile) && (hostile === 'null' || isOrigin(hostile))
    )
    if (taken !== undefined) {
      return {
        message: `Somebody else's origin matches too, for example ${taken}.`,
        fix:
          'Write out the domain that you own at the end of the pattern: \\.example\\.com$, and vary only what stands left of it.',
      }
    }
  }
  return null
}

/** Whole-text, whatever the anchors say, and out of reach of whoever holds the original. */
function ownCopy ({ source }: RegExp): RegExp {
  return new RegExp(`^(?:${source})$`)
}

/**
 * Origins that an attacker can own, as near to the sample as it gets: none of them may match a pattern that the sample
 * matches.
 */
function hostileTo (sample: string): string[] {
  const { protocol, hostname, port } = new URL(sample)
  const origin = (host: string): string => `${protocol}//${host}${port === '' ? '' : `:${port}`}`
  const labels = hostname.split('.')
  const last = labels.length - 1
  const replaced = (index: number, label: string): string =>
    origin(labels.map((old, at) => at === index ? label : old).join('.'))
  const hostile = [
    'null',
    ...(protocol === 'https:' ? [`http:${sample.slice('https:'.length)}`] : []),
    origin(`${hostname}.evil.example`), origin(`${hostname}.evil`), origin(`${hostname}-evil.example`),
  ]
  // The last label and the one before it name the registrable domain: whoever may choose a part of it may buy the name.
  for (let index = Math.max(0, last - 1); index <= last; index++) {
    for (const variant of variantsOf(labels[index] ?? '')) hostile.push(replaced(index, variant))
  }
  return hostile.filter((text) => text !== sample && !isAddress(hostname, text))
}

const LABEL_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz0123456789-_'.split(/(?:)/)

/** The label with something before it, behind it, or another character at each place. */
function variantsOf (label: string): string[] {
  const variants = [
    'evil',
    `evil${label}`,
    `evil-${label}`,
    `${label}evil`,
    `${label}-evil`,
    `${label.slice(0, 1)}${label}`,
    `${label}${label.slice(-1)}`,
  ]
  for (let index = 0; index < label.length; index++) {
    for (const char of LABEL_CHARACTERS) variants.push(`${label.slice(0, index)}${char}${label.slice(index + 1)}`)
  }
  return variants
}

/** The parts of an IP address are no labels that anybody could buy. */
function isAddress (hostname: string, hostile: string): boolean {
  return /^[\d.]+$/.test(hostname) && /^https?:\/\/[\d.]+(:\d+)?$/.test(hostile)
}

/** Origins by list: exact ones by look-up, the rest by pattern. Built at boot of checked entries. */
export interface OriginList {
  /** True for a syntactically valid origin that stands on the list or matches one of its patterns. */
  has (origin: string): boolean
}

export function createOriginList (entries: readonly (string | RegExp)[]): OriginList {
  const exact = new Set(entries.filter((entry) => typeof entry === 'string'))
  const patterns = entries.filter((entry) => entry instanceof RegExp).map(ownCopy)
  if (patterns.length === 0) return exact
  return {
    has: (origin) => exact.has(origin) || (isBoundedOrigin(origin) && patterns.some((pattern) => pattern.test(origin))),
  }
}

/** Never `null`, never a list, never a text that is longer than a host name can be. */
export function isBoundedOrigin (origin: string): boolean {
  return origin.length <= MAX_ORIGIN_LENGTH && isOrigin(origin)
}


import type { Problem } from '../response/errors.js'

/** A DNS name has at most 253 characters; longer texts are no origin and are never remembered. */
const MAX_ORIGIN_LENGTH = 255

/** True for a serialized http(s) origin (RFC 6454, section 6.1), exactly as a browser writes it. */
export function isOrigin (text: string): boolean {
  // The URL parser takes a star as a character of a host name.
  if (text.length > MAX_ORIGIN_LENGTH || text.includes('*') || !URL.canParse(text)) return false
  const url = new URL(text)
  return (url.protocol === 'https:' || url.protocol === 'http:') && url.origin === text
}

/** Origins by list: exact ones, and wildcards such as `https://*.example.com`. Built at boot of checked entries. */
export interface OriginList {
  readonly exact: readonly string[]
  readonly isEmpty: boolean
  /** True for an origin that is listed or matches a wildcard. */
  has (origin: string): boolean
}

/** A host name's first label between the scheme and the next dot. */
const FIRST_LABEL = /^(https?:\/\/)[a-z0-9-]{1,63}\./

export function createOriginList (entries: readonly string[]): OriginList {
  const listed = new Set(entries)
  return Object.freeze({
    exact: Object.freeze(entries.filter((entry) => !entry.includes('*'))),
    isEmpty: listed.size === 0,
    has: (origin: string) =>
      !origin.includes('*') && (listed.has(origin) || listed.has(origin.replace(FIRST_LABEL, '$1*.'))),
  })
}

/** Gives the entries that are an exact origin or a wildcard, and adds a problem for each other one. */
export function checkOrigins (entries: readonly unknown[], where: string, problems: Problem[]): string[] {
  return entries.filter((entry, index): entry is string => checkOrigin(entry, `${where}[${index}]`, problems))
}

/** True for an exact origin or a wildcard; adds a problem for anything else. */
export function checkOrigin (entry: unknown, path: string, problems: Problem[]): entry is string {
  if (typeof entry === 'string' && (isOrigin(entry) || isWildcard(entry))) return true
  problems.push({ path, ...originProblem(entry) })
  return false
}

/** A problem without its path, for an option that takes one exact origin. */
export const NOT_AN_ORIGIN = Object.freeze({
  message: 'Not an exact origin.',
  fix: 'Write scheme, host and port as browsers send it: https://app.example.com, without a path or a trailing slash.',
})

function originProblem (entry: unknown): Omit<Problem, 'path'> {
  if (entry instanceof RegExp) {
    return {
      message: 'A regular expression is not supported.',
      fix: 'Write https://*.example.com as text; for cors.origin, a function (origin, request) => boolean also works.',
    }
  }
  if (entry === 'null') {
    return { message: NOT_AN_ORIGIN.message, fix: 'Remove it: sandboxed frames and local files all share this origin.' }
  }
  if (entry === '*') {
    return {
      message: 'A star does not belong in a list of origins.',
      fix: "List the origins. For open data without credentials write origin: '*' in cors.",
    }
  }
  if (typeof entry === 'string' && entry.includes('*')) {
    return {
      message: 'Not a wildcard that is supported.',
      fix: 'Put the star in place of the first label, before a domain of at least two: https://*.example.com.',
    }
  }
  return NOT_AN_ORIGIN
}

/** The star stands for exactly one label; at least two labels follow, because one alone is a top-level domain. */
function isWildcard (entry: string): boolean {
  const sample = entry.replace('//*.', '//label.')
  return sample !== entry && isOrigin(sample) && new URL(sample).hostname.split('.').length >= 3
}

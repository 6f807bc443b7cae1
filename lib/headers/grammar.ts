import type { Problem } from '../response/errors.js'
import { nearest } from '../options/check-options.js'
import { DENIED_FEATURES } from './defaults.js'

/**
 * CSP Level 3, and the specifications that extend it. Browsers ignore any other name, and with it what it should have
 * forbidden.
 */
const CSP_DIRECTIVES: ReadonlySet<string> = new Set([
  'default-src',
  'script-src',
  'script-src-elem',
  'script-src-attr',
  'style-src',
  'style-src-elem',
  'style-src-attr',
  'img-src',
  'font-src',
  'connect-src',
  'media-src',
  'object-src',
  'child-src',
  'frame-src',
  'worker-src',
  'manifest-src',
  'fenced-frame-src',
  'base-uri',
  'form-action',
  'frame-ancestors',
  'sandbox',
  'webrtc',
  'report-uri',
  'report-to',
  'require-trusted-types-for',
  'trusted-types',
  'upgrade-insecure-requests',
])

type WrittenDirectives = Readonly<Record<string, readonly string[] | false>> | undefined

/** Adds a problem for each directive that no browser knows and each source that is none. */
export function checkDirectives (directives: WrittenDirectives, where: string, problems: Problem[]): void {
  for (const [name, sources] of Object.entries(directives ?? {})) {
    if (!CSP_DIRECTIVES.has(name)) {
      const near = nearest(name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), [...CSP_DIRECTIVES])
      problems.push({
        path: `${where}.${name}`,
        message: 'No such directive, so browsers would ignore it.',
        fix: near === null
          ? "Write the name as the CSP standard has it, such as 'img-src'."
          : `Did you mean '${near}'?`,
      })
    } else if (sources !== false && sources.includes('')) {
      problems.push({
        path: `${where}.${name}`,
        message: 'An empty source.',
        fix: 'Remove it; an empty list stands for a directive without a value.',
      })
    }
  }
}

/** Permissions Policy, section 5.2: `self`, `*`, or an origin, of which the left-most label may be `*`. */
const ALLOWED = /^(?:self|\*|(?:https?|wss?):\/\/(?:\*\.)?[a-z0-9.-]+(?::\d{1,5})?)$/

/** Adds a problem for each feature that looks misspelt and each entry that no allow-list can hold. */
export function checkFeatures (
  features: Readonly<Record<string, readonly string[]>>,
  where: string,
  problems: Problem[],
): void {
  for (const [name, allowed] of Object.entries(features)) {
    // Browsers learn new features faster than this list does: only what is almost a known name is refused.
    const near = DENIED_FEATURES.includes(name) ? null : nearest(name, DENIED_FEATURES)
    if (near !== null && isTypo(name, near))
      {problems.push({ path: `${where}.${name}`, message: 'No such feature.', fix: `Did you mean '${near}'?` })}
    for (const entry of allowed) {
      if (!ALLOWED.test(entry))
        {problems.push({
          path: `${where}.${name}`,
          message: `${JSON.stringify(entry)} is no entry of an allow-list.`,
          fix:
            'Write self (without inner quotes), * or an origin such as https://maps.example.com; an empty list denies.',
        })}
    }
  }
}

/** One letter too many, too few, wrong, or two swapped. */
function isTypo (name: string, known: string): boolean {
  if (Math.abs(name.length - known.length) > 1) return false
  let from = 0
  while (from < name.length && name[from] === known[from]) from++
  const [rest, knownRest] = [name.slice(from), known.slice(from)]
  return rest.slice(1) === knownRest.slice(1) || rest === knownRest.slice(1) || rest.slice(1) === knownRest ||
    (rest[0] === knownRest[1] && rest[1] === knownRest[0] && rest.slice(2) === knownRest.slice(2))
}

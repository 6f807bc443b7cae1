import { nearest } from '../options/nearest.js'
import type { Problem } from '../response/errors.js'

/** The features of OWASP Secure Headers' deny list that browsers know; an unknown name only fills their consoles. */
export const DENIED_FEATURES: readonly string[] = Object.freeze([
  'accelerometer', 'autoplay', 'camera', 'cross-origin-isolated', 'display-capture', 'encrypted-media', 'fullscreen',
  'geolocation', 'gyroscope', 'keyboard-map', 'magnetometer', 'microphone', 'midi', 'payment', 'picture-in-picture',
  'publickey-credentials-get', 'screen-wake-lock', 'sync-xhr', 'usb', 'xr-spatial-tracking', 'clipboard-read',
  'clipboard-write', 'gamepad', 'hid', 'idle-detection', 'serial', 'window-management',
])

type Features = Readonly<Record<string, readonly string[]>>

/** Permissions Policy, section 5.2: `self`, `*`, or an origin, of which the left-most label may be `*`. */
const ALLOWED = /^(?:self|\*|(?:https?|wss?):\/\/(?:\*\.)?[a-z0-9.-]+(?::\d{1,5})?)$/

/** Adds a problem for each feature that looks misspelt and each entry that no allow-list can hold. */
export function checkFeatures (features: Features, where: string, problems: Problem[]): void {
  for (const [name, allowed] of Object.entries(features)) {
    // Browsers learn new features faster than this list does: only what is almost a known name is refused.
    const near = DENIED_FEATURES.includes(name) ? null : nearest(name, DENIED_FEATURES)
    if (near !== null && isTypo(name, near)) {
      problems.push({ path: `${where}.${name}`, message: 'No such feature.', fix: `Did you mean '${near}'?` })
    }
    for (const entry of allowed) {
      if (ALLOWED.test(entry)) continue
      problems.push({
        path: `${where}.${name}`,
        message: `${JSON.stringify(entry)} is no entry of an allow-list.`,
        fix:
          'Write self (without inner quotes), * or an origin such as https://maps.example.com; an empty list denies.',
      })
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

/** Permissions Policy, section 5: a dictionary of allow-lists; `self` is a token, origins are quoted strings. */
export function renderFeatures (features: Features): string {
  const item = (origin: string): string => origin === 'self' || origin === '*' ? origin : `"${origin}"`
  return Object.entries(features).map(([name, allowed]) => `${name}=(${allowed.map(item).join(' ')})`).join(', ')
}

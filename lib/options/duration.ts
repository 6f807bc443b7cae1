const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A positive whole number with a unit: `'500ms'`, `'10s'`, `'15m'`, `'1h'`, `'7d'`. */
export type Duration = `${number}${keyof typeof MILLISECONDS}`

export const DURATION_PATTERN = '^([1-9][0-9]{0,8})(ms|s|m|h|d)$'
const DURATION = new RegExp(DURATION_PATTERN)

export function isDuration (value: unknown): value is Duration {
  return typeof value === 'string' && DURATION.test(value)
}

/**
 * Milliseconds of a duration such as `'15m'`. A bare number is refused, because its unit would be a guess.
 * @throws RangeError when the text is not a positive whole number with one of the units ms, s, m, h, d.
 */
export function parseDuration (text: string): number {
  const match = DURATION.exec(text)
  if (match === null) {
    throw new RangeError('Write a duration as a positive whole number with a unit: 500ms, 10s, 15m, 1h, 7d.')
  }
  return Number(match[1]) * MILLISECONDS[match[2] as keyof typeof MILLISECONDS]
}

const UNIT_MILLISECONDS: ReadonlyMap<string, number> = new Map([
  ['ms', 1], ['s', 1000], ['m', 60_000], ['h', 3_600_000], ['d', 86_400_000],
])

/** A positive whole number with a unit: `'500ms'`, `'10s'`, `'15m'`, `'1h'`, `'7d'`. */
export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

export const DURATION_PATTERN = '^[1-9][0-9]{0,8}(ms|s|m|h|d)$'

/**
 * Milliseconds of a duration such as `'15m'`. A bare number is refused, because nobody can tell its unit.
 * @throws RangeError when the text is not a positive whole number with one of the units ms, s, m, h, d.
 */
export function parseDuration (text: string): number {
  const match = /^([1-9][0-9]{0,8})(ms|s|m|h|d)$/.exec(text)
  const factor = UNIT_MILLISECONDS.get(match?.[2] ?? '')
  if (match === null || factor === undefined) {
    throw new RangeError('Write a duration as a positive whole number with a unit: 500ms, 10s, 15m, 1h, 7d.')
  }
  return Number(match[1]) * factor
}

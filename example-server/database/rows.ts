/** Readers for the columns of a row: a schema that has drifted from the code shows here and not as a cast that lies. */

export function text (value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('a text column was expected')
  return value
}

export function nullableText (value: unknown): string | null {
  return value === null ? null : text(value)
}

export function textList (value: unknown): string[] {
  if (!Array.isArray(value)) throw new TypeError('a text array column was expected')
  return value.map(text)
}

export function integer (value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new TypeError('an integer column was expected')
  return value
}

/** ISO 8601 in UTC. */
export function instant (value: unknown): string {
  if (!(value instanceof Date)) throw new TypeError('a timestamp column was expected')
  return value.toISOString()
}

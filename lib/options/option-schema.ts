/** Schemas of options that many plugins have, each with the fix that `checkOptions` reports. */
import { Type, type TUnsafe } from '@sinclair/typebox'
import { DURATION_PATTERN, type Duration } from './duration.js'

/** One of the given values. `description`: what the option decides, and its default. */
export function oneOf<const T extends readonly (string | boolean)[]> (
  description: string,
  ...values: T
): TUnsafe<T[number]> {
  return Type.Unsafe<T[number]>(
    Type.Union(values.map((value) => Type.Literal(value)), {
      description,
      fix: `Write one of: ${values.join(', ')}.`,
    }),
  )
}

/** A duration such as `'15m'`. `description`: what the option decides, its bounds and its default. */
export function durationOption (description: string): TUnsafe<Duration> {
  return Type.Unsafe<Duration>(
    Type.String({
      pattern: DURATION_PATTERN,
      description,
      fix: `Write a duration with a unit (ms, s, m, h, d), for example 15m. ${description}`,
    }),
  )
}

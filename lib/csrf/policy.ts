import { Type, type Static } from '@sinclair/typebox'
import type { Problem } from '../response/errors.js'
import { checkOptions, readableOptions } from '../options/check-options.js'
import { oneOf } from '../options/option-schema.js'
import { replaceLeaves } from '../policy/merge.js'

const MODE_FIX = 'Write \'cookie\', \'always\' or false.'

export const CsrfRouteOptionsSchema = Type.Object({
  mode: Type.Optional(
    oneOf("'cookie' checks requests with a cookie, 'always' every unsafe request.", 'cookie', 'always', false),
  ),
  isolation: Type.Optional(
    Type.Boolean({
      description:
        "Write false when other sites may embed or read this route with the visitor's cookies. Default: the plugin's.",
    }),
  ),
}, { additionalProperties: false })

/** `'cookie'`: checked when a cookie comes along (default). `'always'`: checked for every unsafe request. */
export type CsrfMode = 'cookie' | 'always'

/** A route's own rules, by leaf; a mode alone is short for `{ mode }`, `false` turns both checks off. */
export type CsrfRouteOptions = Static<typeof CsrfRouteOptionsSchema>

/** Complete and frozen; `false` when neither check runs. */
export type ResolvedCsrfPolicy = { readonly mode: CsrfMode | false, readonly isolation: boolean } | false

/** `defaults` is what the plugin was registered with: what holds again below a scope that turned the checks off. */
export function resolveCsrfPolicy (
  base: ResolvedCsrfPolicy,
  defaults: Exclude<ResolvedCsrfPolicy, false>,
  input: unknown,
  where: string,
  problems: Problem[],
): ResolvedCsrfPolicy {
  if (input === false) return false
  const inherited = base === false ? defaults : base
  if (input === 'cookie' || input === 'always') return Object.freeze({ ...inherited, mode: input })
  if (typeof input !== 'object' || input === null) {
    problems.push({
      path: where,
      message: 'Not a mode.',
      fix: `${MODE_FIX} Or write an object with mode and isolation.`,
    })
    return base
  }
  const written: CsrfRouteOptions = checkOptions(CsrfRouteOptionsSchema, input, where, problems) ??
    readableOptions(input, where, problems)
  return Object.freeze(replaceLeaves<Exclude<ResolvedCsrfPolicy, false>>(inherited, written))
}

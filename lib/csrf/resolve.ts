import { checkOrigins, createOriginList, isOrigin, NOT_AN_ORIGIN, type OriginList } from '../net/origin.js'
import { checkOptions, isPlainObject, readableOptions } from '../options/check-options.js'
import { replaceLeaves } from '../policy/merge.js'
import type { ResolveContext } from '../policy/plugin.js'
import type { Problem } from '../response/errors.js'
import { CsrfRouteOptionsSchema, MODE_FIX, type CsrfMode, type CsrfOptions, type CsrfRouteOptions } from './options.js'

/** What is checked on one route. */
export interface CsrfChecks { readonly mode: CsrfMode | false, readonly isolation: boolean }

/** Complete and frozen; `false` when neither check runs. */
export type ResolvedCsrfPolicy = CsrfChecks | false

/** What the plugin was registered with: complete, checked, frozen. */
export interface ResolvedCsrf {
  /** Null: the request's own scheme and host. */
  readonly publicOrigin: string | null
  readonly trusted: OriginList
  readonly checks: CsrfChecks
}

/** Resolves the plugin's checked options. The public origin is the transport's, unless the plugin has its own. */
export function resolveCsrf (
  { publicOrigin, trustedOrigins = [], isolation = true }: CsrfOptions,
  { definition, where, problems }: ResolveContext,
): ResolvedCsrf {
  if (publicOrigin !== undefined && !isOrigin(publicOrigin)) {
    problems.push({ path: `${where}.publicOrigin`, ...NOT_AN_ORIGIN })
  }
  return Object.freeze({
    publicOrigin: publicOrigin ?? originOf(definition['transport']),
    trusted: createOriginList(checkOrigins(trustedOrigins, `${where}.trustedOrigins`, problems)),
    checks: Object.freeze({ mode: 'cookie', isolation } as const),
  })
}

/** A wrong one is the transport's to report, once. */
function originOf (transport: unknown): string | null {
  const publicOrigin = isPlainObject(transport) ? transport['publicOrigin'] : null
  return typeof publicOrigin === 'string' && isOrigin(publicOrigin) ? publicOrigin : null
}

/** Resolves a route's or a scope's input. `defaults` hold again below a scope that turned the checks off. */
export function resolveCsrfPolicy (
  base: ResolvedCsrfPolicy,
  defaults: CsrfChecks,
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
  return Object.freeze(replaceLeaves<CsrfChecks>(inherited, written))
}

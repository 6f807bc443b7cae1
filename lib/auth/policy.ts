import { Type } from '@sinclair/typebox'
import { parseDuration, type Duration } from '../options/duration.js'
import { durationOption } from '../options/option-schema.js'
import type { Problem } from '../response/errors.js'
import { checkOptions } from '../options/check-options.js'
import { nearest } from '../options/nearest.js'
import { PublicRoute } from '../policy/public-route.js'
import type { LooseShape, ScopeOf, SecurityShape } from '../policy/types.js'
import { RevocationSchema, type Revocation } from './options.js'

/** What a route asks of a signed-in user. */
export interface AuthRequirements<S extends SecurityShape = LooseShape> {
  /** Any one of these is enough. */
  readonly roles?: readonly S['roles'][]
  /** All of these are needed. */
  readonly scopes?: readonly ScopeOf<S>[]
  /** The sign-in (not the last refresh) is at most this old. */
  readonly fresh?: Duration
  /** Overrides the option of the same name. */
  readonly revocation?: Revocation
}

/** The `auth` key of a route's or a scope's `security`. */
export type AuthRouteOptions<S extends SecurityShape = LooseShape> = 'required' | 'optional' | PublicRoute
  | AuthRequirements<S>

/** Resolved policy of a scope or a route: complete, checked, frozen. */
export interface ResolvedAuthPolicy {
  readonly access: 'required' | 'optional' | 'public'
  /** Of a public route. */
  readonly why: string | null
  /** Any one of these; empty: every signed-in user. */
  readonly roles: readonly string[]
  /** All of these. */
  readonly scopes: readonly string[]
  readonly freshSeconds: number | null
  readonly revocation: Revocation
}

const RequirementsSchema = Type.Object({
  roles: Type.Optional(
    Type.Array(Type.String(), {
      minItems: 1,
      fix: 'Name at least one role, or leave roles out: then every signed-in user may call it.',
    }),
  ),
  scopes: Type.Optional(
    Type.Array(Type.String(), { minItems: 1, fix: 'Name at least one scope, or leave scopes out.' }),
  ),
  fresh: Type.Optional(
    durationOption('How old the sign-in may be, for example 5m.'),
  ),
  revocation: Type.Optional(RevocationSchema),
}, { additionalProperties: false })

const FIX = 'Write \'required\', \'optional\', publicRoute(\'why\') or { roles, scopes, fresh, revocation }.'

/** The base policy of a service: everybody must sign in unless a route says otherwise. */
export function baseAuthPolicy (revocation: Revocation): ResolvedAuthPolicy {
  return Object.freeze({ access: 'required', why: null, ...NOTHING_MORE, revocation })
}

const NONE: readonly string[] = Object.freeze([])
const NOTHING_MORE = Object.freeze({ roles: NONE, scopes: NONE, freshSeconds: null })

/** The names that routes may use. */
export interface KnownNames { readonly roles: ReadonlySet<string>, readonly scopes: ReadonlySet<string> }

/**
 * Resolves the `auth` key against the scope's policy. A word or `publicRoute` replaces who may call, and keeps the
 * scope's `revocation`; an object replaces the keys it names and always means a signed-in user.
 */
export function resolveAuthPolicy (
  known: KnownNames,
  base: ResolvedAuthPolicy,
  input: unknown,
  where: string,
  problems: Problem[],
): ResolvedAuthPolicy {
  const { revocation } = base
  if (input === 'required' || input === 'optional') {
    return Object.freeze({ access: input, why: null, ...NOTHING_MORE, revocation })
  }
  if (PublicRoute.is(input)) return Object.freeze({ access: 'public', why: input.why, ...NOTHING_MORE, revocation })
  if (typeof input !== 'object' || input === null) {
    problems.push({
      path: where,
      message: 'Not a policy.',
      fix: input === false ? "To open a route, write publicRoute('why')." : FIX,
    })
    return base
  }
  const checked = checkOptions(RequirementsSchema, input, where, problems)
  if (checked === null) return base
  checkNames('role', checked.roles, known.roles, where, problems)
  checkNames('scope', checked.scopes, known.scopes, where, problems)
  const freshMs = checked.fresh === undefined ? 0 : parseDuration(checked.fresh)
  if (freshMs % 1000 !== 0) {
    problems.push({
      path: `${where}.fresh`,
      message: 'Not whole seconds.',
      fix: 'Tokens count in seconds: write for example 90s.',
    })
  }
  return Object.freeze({
    access: 'required',
    why: null,
    roles: checked.roles === undefined ? base.roles : Object.freeze([...checked.roles]),
    scopes: checked.scopes === undefined ? base.scopes : Object.freeze([...checked.scopes]),
    freshSeconds: checked.fresh === undefined ? base.freshSeconds : freshMs / 1000,
    revocation: checked.revocation ?? revocation,
  })
}

function checkNames (
  kind: 'role' | 'scope',
  names: readonly string[] = [],
  known: ReadonlySet<string>,
  where: string,
  problems: Problem[],
): void {
  for (const name of names) {
    if (known.has(name)) continue
    const near = nearest(name, [...known])
    const fix = near !== null
      ? `Did you mean "${near}"?`
      : known.size === 0
      ? `Declare it in auth.${kind}s.`
      : `Known ${kind}s: ${[...known].join(', ')}.`
    problems.push({ path: `${where}.${kind}s`, message: `Unknown ${kind} "${name}".`, fix })
  }
}

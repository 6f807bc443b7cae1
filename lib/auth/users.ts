import { FormatRegistry, KindGuard, type TObject, type TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { Problem } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'

/**
 * A user as tokens, `request.user` and the built-in routes know one: id, roles, scopes and the declared claims, nothing
 * else.
 */
export interface KnownUser {
  readonly id: string
  readonly roles: readonly string[]
  /** Present when the service declares scopes. */
  readonly scopes?: readonly string[]
  readonly [claim: string]: unknown
}

/** Turns what the app's functions return, and what tokens say, into known users. */
export interface UserModel {
  readonly roles: ReadonlySet<string>
  /** Empty when the service declares none. */
  readonly scopes: ReadonlySet<string>
  /** Names of the app's claims. */
  readonly claims: readonly string[]
  readonly schema: TObject | null
  /**
   * A frozen copy with the id, the roles, the scopes and the declared claims; everything else the object has (a
   * database row's password hash) stays behind. @throws Error when it does not fit; the message holds no value.
   */
  fromApp (user: unknown, source: string): KnownUser
  /**
   * The user that a payload describes, frozen to the bottom (the payload's own lists too) and inheriting nothing; null
   * when it does not fit.
   */
  fromClaims (payload: Readonly<Record<string, unknown>>): KnownUser | null
  /** The claims that a token carries of a user beside `sub`. */
  toClaims (user: KnownUser): Readonly<Record<string, unknown>>
}

const MAX_ID_LENGTH = 255

/** Names that tokens, `request.user` or RFC 9068 give another meaning. */
const RESERVED_CLAIMS: ReadonlySet<string> = new Set([
  'iss',
  'aud',
  'sub',
  'sid',
  'roles',
  'auth_time',
  'iat',
  'exp',
  'nbf',
  'jti',
  'gen',
  'slt',
  'tv',
  'amr',
  'acr',
  'azp',
  'cnf',
  'nonce',
  'scope',
  'scopes',
  'client_id',
  'typ',
  'kid',
  'id',
  'sessionId',
  '__proto__',
  'constructor',
  'prototype',
  'toJSON',
])

/** Adds a problem for a claims schema that cannot be checked or collides with a name of ours. */
export function checkClaims (claims: unknown, path: string, problems: Problem[]): TObject | null {
  if (claims === undefined) return null
  if (!KindGuard.IsObject(claims)) {
    problems.push({
      path,
      message: 'Not a TypeBox object.',
      fix: 'Write for example Type.Object({ tenant: Type.String() }).',
    })
    return null
  }
  for (const name of Object.keys(claims.properties)) {
    if (RESERVED_CLAIMS.has(name)) {
      problems.push({
        path: `${path}.${name}`,
        message: 'This name has a meaning of its own in tokens or in request.user.',
        fix: 'Choose another name.',
      })
    }
  }
  for (const format of formatsOf(claims)) {
    if (!FormatRegistry.Has(format)) {
      problems.push({
        path,
        message: `TypeBox does not know the format "${format}", so every token would be refused.`,
        fix: 'Register it with FormatRegistry.Set, or use a pattern.',
      })
    }
  }
  try {
    TypeCompiler.Compile(claims)
  } catch {
    problems.push({
      path,
      message: 'TypeBox cannot compile this schema.',
      fix: 'Use the types that JSON has, without references.',
    })
  }
  return claims
}

export function createUserModel (
  roles: readonly string[],
  schema: TObject | null,
  scopes: readonly string[] = [],
): UserModel {
  const known: ReadonlySet<string> = new Set(roles)
  const knownScopes: ReadonlySet<string> = new Set(scopes)
  const claims = Object.freeze(Object.keys(schema?.properties ?? {}))
  const checker = schema === null ? null : TypeCompiler.Compile(schema)

  const pickClaims = (from: Readonly<Record<string, unknown>>): Record<string, unknown> => {
    const picked: Record<string, unknown> = {}
    for (const name of claims) if (Object.hasOwn(from, name) && from[name] !== undefined) picked[name] = from[name]
    return picked
  }

  /** Freezes what it is given: no other code may hold it. */
  const userOf = (
    id: string,
    given: readonly string[],
    granted: readonly string[],
    picked: Readonly<Record<string, unknown>> | null,
  ): KnownUser => {
    const user: { -readonly [name in keyof User]: User[name] } = new User()
    user.id = id
    user.roles = Object.freeze(given)
    if (knownScopes.size > 0) user.scopes = Object.freeze(granted)
    if (picked !== null) {
      for (const name of Object.keys(picked)) {
        user[name] = picked[name]
        freezeDeep(picked[name])
      }
    }
    return Object.freeze(user)
  }

  return Object.freeze<UserModel>({
    roles: known,
    scopes: knownScopes,
    claims,
    schema,
    fromApp (user, source) {
      if (typeof user !== 'object' || user === null) throw new Error(`auth: ${source} gave no user object`)
      const { id, roles: given, scopes: granted = [] } = user as { id?: unknown, roles?: unknown, scopes?: unknown }
      if (!isId(id)) {
        throw new Error(`auth: ${source} gave a user whose id is not a text of 1 to ${MAX_ID_LENGTH} characters`)
      }
      if (!isRoles(given, known)) {
        throw new Error(`auth: ${source} gave a user whose roles are not a list of the declared ones`)
      }
      const refused = firstUnknownScope(granted, knownScopes)
      if (refused !== null) throw new Error(`auth: ${source} gave a user whose scopes ${refused}`)
      // Through JSON, as the token will carry them: a Date or an undefined member shows here and not at the next
      // request.
      const picked = JSON.parse(JSON.stringify(pickClaims(user as Record<string, unknown>))) as Record<string, unknown>
      if (checker?.Check(picked) === false) {
        const where = checker.Errors(picked).First()?.path ?? ''
        throw new Error(
          `auth: ${source} gave a user whose claims do not fit their schema, at ${where === '' ? '/' : where}`,
        )
      }
      return userOf(id, [...new Set(given)], [...new Set(granted as readonly string[])], picked)
    },
    fromClaims (payload) {
      const { sub, roles: given } = payload
      if (!isId(sub) || !isRoles(given, known)) return null
      const granted = readScope(payload['scope'], knownScopes)
      if (granted === null) return null
      const picked = checker === null ? null : pickClaims(payload)
      if (checker?.Check(picked) === false) return null
      return userOf(sub, given, granted, picked)
    },
    toClaims ({ id: _id, scopes: granted = [], ...rest }) {
      // RFC 6749, section 3.3: one scope at least, so a user without any has no such claim.
      return granted.length === 0 ? rest : { ...rest, scope: granted.join(' ') }
    },
  })
}

function isId (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_ID_LENGTH
}

function isRoles (value: unknown, known: ReadonlySet<string>): value is readonly string[] {
  return Array.isArray(value) && value.every((role) => typeof role === 'string' && known.has(role))
}

/**
 * What is wrong with a user's scopes, for an error; null when nothing is. A scope's name is no secret, and is the app's
 * own text.
 */
function firstUnknownScope (value: unknown, known: ReadonlySet<string>): string | null {
  if (!Array.isArray(value)) return 'are not a list of the declared ones'
  for (const scope of value as readonly unknown[]) {
    if (typeof scope !== 'string') return 'are not a list of the declared ones'
    if (!known.has(scope)) return `have one that is not declared: ${JSON.stringify(scope.slice(0, 64))}`
  }
  return null
}

/**
 * The scopes of a token (RFC 9068, section 2.2.3: names with one space between them); null when they are none that we
 * gave.
 * A token from before the service declared scopes has no such claim, and one from after it gave them up is not asked.
 */
function readScope (value: unknown, known: ReadonlySet<string>): readonly string[] | null {
  if (value === undefined || known.size === 0) return []
  if (typeof value !== 'string') return null
  const scopes = value.split(' ')
  return scopes.every((scope) => known.has(scope)) && new Set(scopes).size === scopes.length ? scopes : null
}

/**
 * What users are made of: it inherits nothing, as an object without a prototype, and unlike one has a shape that
 * engines know, which makes it four times cheaper to build and to keep.
 */
class User {
  declare readonly id: string
  declare readonly roles: readonly string[]
  declare readonly scopes?: readonly string[];
  [claim: string]: unknown
}
Reflect.deleteProperty(User.prototype, 'constructor')
Object.freeze(Object.setPrototypeOf(User.prototype, null))

/** The same object serves every request with this token: a handler that changed it would change them all. */
function freezeDeep (value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const member of Object.values(value)) freezeDeep(member)
}

function formatsOf (schema: unknown): Set<string> {
  const formats = new Set<string>()
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(visit)
    if (!isPlainObject(node)) return
    const { format } = node as TSchema
    if (node['type'] === 'string' && typeof format === 'string') formats.add(format)
    Object.values(node).forEach(visit)
  }
  visit(schema)
  return formats
}

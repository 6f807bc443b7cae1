/**
 * TypeBox's `Type` with the strings that services need. Each helper is a plain JSON schema: what JSON Schema cannot say
 * stands in a keyword of lib/validation/keywords.ts, which an Ajv without this plugin refuses at boot.
 */
import { Type as TypeBox, type StringOptions, type TInteger, type TObject, type TOptional, type TString,
  type TUnsafe } from '@sinclair/typebox'
import type { CharacterKind } from './keywords.js'

type Options = Pick<StringOptions, 'description' | 'title' | 'default' | 'examples'>

export interface BoundedOptions extends Options {
  readonly minLength?: number
  readonly maxLength?: number
}
export interface SafeTextOptions extends BoundedOptions {
  readonly multiline?: boolean
}
export interface PasswordOptions extends BoundedOptions {
  readonly characters?: readonly CharacterKind[]
}
/** A sanitized string must say how long it may be, at most 100,000 characters. */
export type SanitizedOptions = StringOptions & { readonly maxLength: number }
export interface UrlOptions extends Options {
  readonly protocols?: readonly ['https'] | readonly ['http', 'https']
  readonly maxLength?: number
}
export interface PageOptions {
  readonly defaultLimit?: number
  readonly maxLimit?: number
  readonly maxOffset?: number
}

const CURSOR = '^[A-Za-z0-9_-]+={0,2}$'

/** A default beyond the maximum would refuse every request that leaves `limit` out. */
function limitOf (helper: string, { defaultLimit, maxLimit = 100 }: PageOptions): TInteger {
  if (defaultLimit !== undefined && defaultLimit > maxLimit) {
    throw new TypeError(`Type.${helper}: defaultLimit ${defaultLimit} is above maxLimit ${maxLimit}.`)
  }
  return TypeBox.Integer({ minimum: 1, maximum: maxLimit, default: defaultLimit ?? Math.min(20, maxLimit) })
}

/** The two choices that exist; any other value of an untyped caller is refused. */
function httpsOnly (protocols: readonly string[]): boolean {
  const written = protocols.join()
  if (written === 'https') return true
  if (written === 'http,https') return false
  throw new TypeError('Type.Url: protocols is [\'https\'] or [\'http\', \'https\'].')
}

const helpers = {
  /** An e-mail address of at most 254 characters (RFC 5321), without comments, quotes or address literals. */
  Email: (options: Options = {}): TString => TypeBox.String({ ...options, format: 'email', maxLength: 254 }),
  /** The 8-4-4-4-12 text of a UUID (RFC 9562), in either case; no `urn:uuid:`, no braces. */
  Uuid: (options: Options = {}): TString => TypeBox.String({ ...options, format: 'uuid' }),
  /** An absolute http or https URL of at most 2048 characters, without user name and password. */
  Url: ({ protocols = ['http', 'https'], maxLength = 2048, ...options }: UrlOptions = {}): TString =>
    TypeBox.String({ ...options, format: 'url', maxLength, ...(httpsOnly(protocols) && { pattern: '^https://' }) }),
  /** A date and time with its zone (RFC 3339); no leap second, because JavaScript's Date has none. */
  DateTime: (options: Options = {}): TString => TypeBox.String({ ...options, format: 'date-time' }),
  /**
   * A new password: 12 to 128 characters, among them a lower-case and an upper-case letter, a digit and a special
   * character.
   */
  Password: (
    { characters = ['lower', 'upper', 'digit', 'special'], minLength = 12, maxLength = 128, ...options }:
      PasswordOptions = {},
  ): TString => TypeBox.String({ ...options, minLength, maxLength, characters: [...characters], writeOnly: true }),
  /**
   * One line for people to read (1 to 1000 characters by default), or several: no control characters, no bidirectional
   * marks, no space around it.
   */
  SafeText: ({ multiline = false, minLength = 1, maxLength = 1000, ...options }: SafeTextOptions = {}): TString =>
    TypeBox.String({ ...options, minLength, maxLength, safeText: multiline ? 'lines' : 'line', trimmed: true }),
  /** Text from which all markup is removed before the handler sees it. The result is plain text, not HTML. */
  PlainText: (options: SanitizedOptions): TString => TypeBox.String({ ...options, sanitize: 'text' }),
  /** HTML of which only paragraphs, lists, simple formatting, code and links are left before the handler sees it. */
  Html: (options: SanitizedOptions): TString => TypeBox.String({ ...options, sanitize: 'basic' }),
  /** Text without white space around it (1 to 1000 characters by default). It is refused, not changed. */
  Trimmed: ({ minLength = 1, maxLength = 1000, ...options }: BoundedOptions = {}): TString =>
    TypeBox.String({ ...options, minLength, maxLength, trimmed: true }),
  /** Text with a length that must be stated. */
  Bounded: (minLength: number, maxLength: number, options: Options = {}): TString =>
    TypeBox.String({ ...options, minLength, maxLength }),
  /** A positive whole number that JavaScript holds exactly: a serial key. */
  SerialId: (options: Pick<StringOptions, 'description' | 'title'> = {}): TInteger =>
    TypeBox.Integer({ ...options, minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  /** A query string's `limit` and `offset`, both bounded. */
  Page: ({ maxOffset = 10_000, ...limits }: PageOptions = {}): TObject<{ limit: TInteger, offset: TInteger }> =>
    TypeBox.Object({
      limit: limitOf('Page', limits),
      offset: TypeBox.Integer({ minimum: 0, maximum: maxOffset, default: 0 }),
    }),
  /** A query string's `limit` and opaque base64url `cursor`, both bounded. */
  CursorPage: (limits: Omit<PageOptions, 'maxOffset'> = {}): TObject<{ limit: TInteger, cursor: TOptional<TString> }> =>
    TypeBox.Object({
      limit: limitOf('CursorPage', limits),
      cursor: TypeBox.Optional(TypeBox.String({ minLength: 1, maxLength: 512, pattern: CURSOR })),
    }),
  /** One of these texts, as one `enum`. */
  OneOf: <const T extends readonly string[]>(values: T, options: Options = {}): TUnsafe<T[number]> =>
    TypeBox.Unsafe<T[number]>({ ...options, type: 'string', enum: [...values] }),
}

/** TypeBox's `Type` and the helpers above. */
export const Type: typeof TypeBox & typeof helpers = Object.freeze(Object.assign({}, TypeBox, helpers))

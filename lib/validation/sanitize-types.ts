import { Type, type StringOptions, type TString } from '@sinclair/typebox'

/** A sanitized string must say how long it may be, at most 100,000 characters. */
export type SanitizedOptions = StringOptions & { readonly maxLength: number }

/** Text out of which all markup is taken before the handler sees it. The result is plain text, not HTML. */
export function PlainText (options: SanitizedOptions): TString {
  return Type.String({ ...options, sanitize: 'text' })
}

/** HTML of which only paragraphs, lists, simple formatting, code and links are left before the handler sees it. */
export function Html (options: SanitizedOptions): TString {
  return Type.String({ ...options, sanitize: 'basic' })
}

import { MAX_SANITIZED_LENGTH, type SanitizeMode } from './sanitize.js'

/** What is wrong with a use of the keyword, and what to write instead. */
export interface Fault { readonly message: string, readonly fix: string }

/** By what a field is called, in any spelling: `newPassword`, `api_secret`, `refresh-token`. */
const SECRET_NAME = /pass-?_?(?:word|phrase|code|wd)|pwd$|secret$|token$|^pin$/i

export function isMode (value: unknown): value is SanitizeMode {
  return value === 'text' || value === 'basic'
}

/** The first thing that is wrong with a schema that has the keyword `sanitize`; null when nothing is. */
export function faultOf (schema: Readonly<Record<string, unknown>>): Fault | null {
  const { sanitize, type, maxLength } = schema
  if (!isMode(sanitize)) {
    return {
      message: 'The value of `sanitize` is not known.',
      fix: "Write 'text' (no markup is left) or 'basic' (a little formatting is left).",
    }
  }
  if (!isStringType(type)) {
    return {
      message: '`sanitize` stands on a schema that is not of type string.',
      fix: "Put it on the string schema itself, with type: 'string'.",
    }
  }
  if (schema['format'] === 'password' || schema['writeOnly'] === true) return SECRET
  if (!Number.isInteger(maxLength) || Number(maxLength) < 1 || Number(maxLength) > MAX_SANITIZED_LENGTH) {
    return {
      message: 'A sanitized string needs a bound: parsing HTML costs time.',
      fix: `Add maxLength, 1 to ${MAX_SANITIZED_LENGTH}.`,
    }
  }
  return null
}

/** The same for the name of the field. */
export function faultOfName (name: string): Fault | null {
  return SECRET_NAME.test(name) ? SECRET : null
}

const SECRET: Fault = {
  message: 'A password or secret must not be changed, and `sanitize` would.',
  fix: 'Remove `sanitize`: what is hashed or compared is never shown as HTML.',
}

function isStringType (type: unknown): boolean {
  return type === 'string' ||
    (Array.isArray(type) && type.includes('string') && type.every((name) => name === 'string' || name === 'null'))
}

import { isIPv4, isIPv6 } from 'node:net'
import type { Ajv, Format } from 'ajv'
import ajvFormats from 'ajv-formats'

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const ATOM = '[a-z0-9!#$%&\'*+/=?^_`{|}~-]'
const EMAIL = new RegExp(`^${ATOM}+(?:\\.${ATOM}+)*@(?:${LABEL}\\.)+${LABEL}$`, 'i')
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const DATE_TIME = /^(\d{4})-(\d\d)-(\d\d)[Tt](.+)$/
const TIME = /^(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

/**
 * In place of formats of ajv-formats that accept too much or backtrack: its `date-time` accepts a line break before the
 * time and zones without minutes, `uuid` accepts `urn:uuid:`, `byte` accepts empty lines, `url` backtracks.
 */
const STRICT: Readonly<Record<string, (text: string) => boolean>> = {
  email: (text) => text.length <= 254 && text.indexOf('@') <= 64 && EMAIL.test(text),
  uuid: (text) => text.length === 36 && UUID.test(text),
  url: isUrl,
  'date-time': isDateTime,
  time: (text) => text.length <= 32 && TIME.test(text),
  ipv4: isIPv4,
  // A zone index names an interface of the sender's machine (RFC 4007, section 6).
  ipv6: (text) => isIPv6(text) && !text.includes('%'),
  byte: (text) => text.length % 4 === 0 && BASE64.test(text),
}

/** Formats whose texts hold no control character, so that none is searched for. */
export const PLAIN_FORMATS: ReadonlySet<string> = new Set(Object.keys(STRICT))

/** Adds every format of ajv-formats, with ours in place of its own. */
export function addFormats (ajv: Ajv): void {
  ajvFormats.default(ajv, { mode: 'full', keywords: true })
  for (const [name, validate] of Object.entries(STRICT)) {
    const known: Format | undefined = ajv.formats[name]
    const compare = typeof known === 'object' && 'compare' in known ? known.compare : undefined
    ajv.addFormat(
      name,
      typeof compare === 'function'
        ? { type: 'string', validate, compare: compare as (a: string, b: string) => number | undefined }
        : { type: 'string', validate },
    )
  }
}

function isUrl (text: string): boolean {
  // URL parsers differ in how they repair `\` and a missing slash.
  if (text.length > 2048 || !/^https?:\/\/[^/?#\\@]/.test(text) || /[^\x21-\x7e]|\\/.test(text)) return false
  if (!URL.canParse(text)) return false
  const { username, password, hostname } = new URL(text)
  return username === '' && password === '' && hostname !== '' && !/^https?:\/\/[^/?#]*@/.test(text)
}

function isDateTime (text: string): boolean {
  if (text.length > 40) return false
  const [, year = '', month = '', day = '', time = ''] = DATE_TIME.exec(text) ?? []
  return isDay(Number(year), Number(month), Number(day)) && TIME.test(time)
}

function isDay (year: number, month: number, day: number): boolean {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return day >= 1 && day <= (month === 2 && isLeap ? 29 : DAYS[month - 1] ?? 0)
}

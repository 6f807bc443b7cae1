import { validateHeaderName, validateHeaderValue, type OutgoingHttpHeader, type OutgoingHttpHeaders } from 'node:http'

/** Header fields that boot has checked, in the one form that Node writes without building a table first. */
export interface PreparedHeaders {
  /** Name, value, name, value; names in lower case. Not frozen: V8 copies a frozen list several times slower. */
  readonly flat: readonly string[]
  /** Where the value of a name stands in `flat`. */
  readonly positions: ReadonlyMap<string, number>
}

/** What `writeHead` of Node takes: an object, a flat list or pairs. */
export type HeadArgument = OutgoingHttpHeaders | OutgoingHttpHeader[] | null | undefined

export const NO_HEADERS = layOut(new Map())

/** @throws TypeError of Node's own check when a name or a value cannot be sent (RFC 9110, section 5). */
export function prepareHeaders (headers: Readonly<Record<string, string>>): PreparedHeaders {
  const fields = new Map<string, string>()
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    fields.set(name.toLowerCase(), value)
  }
  return layOut(fields)
}

/** Lower-case names to values. */
export function fieldsOf ({ flat, positions }: PreparedHeaders): Map<string, string> {
  return new Map([...positions].map(([name, at]) => [name, flat[at] as string]))
}

function layOut (fields: ReadonlyMap<string, string>): PreparedHeaders {
  const positions = new Map([...fields.keys()].map((name, index) => [name, 2 * index + 1]))
  return Object.freeze({ flat: [...fields].flat(), positions })
}

const COMBINED = new WeakMap<PreparedHeaders, WeakMap<PreparedHeaders, PreparedHeaders>>()

/** Both, `above` over `below`; made once for each pair, because the same few pairs come with every request. */
export function combine (below: PreparedHeaders, above: PreparedHeaders): PreparedHeaders {
  let pairs = COMBINED.get(below)
  if (pairs === undefined) COMBINED.set(below, pairs = new WeakMap())
  let both = pairs.get(above)
  if (both === undefined) pairs.set(above, both = layOut(new Map([...fieldsOf(below), ...fieldsOf(above)])))
  return both
}

/** The same without one header; `name` in lower case. */
export function without (headers: PreparedHeaders, name: string): PreparedHeaders {
  if (!headers.positions.has(name)) return headers
  const fields = fieldsOf(headers)
  fields.delete(name)
  return layOut(fields)
}

/** The values of a list, by lower-case name. A list may repeat a name, to send several lines of it. */
export function valuesOf (own: OutgoingHttpHeader[]): Map<string, OutgoingHttpHeader> {
  const flat = Array.isArray(own[0]) ? own.flat() : own
  const values = new Map<string, OutgoingHttpHeader>()
  for (let at = 0; at < flat.length; at += 2) {
    const name = String(flat[at]).toLowerCase()
    const value = flat[at + 1] as OutgoingHttpHeader
    const before = values.get(name)
    values.set(name, before === undefined ? value : [before, value].flat().map(String))
  }
  return values
}

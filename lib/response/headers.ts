import { validateHeaderName, validateHeaderValue, type OutgoingHttpHeader, type OutgoingHttpHeaders } from 'node:http'

/** Header fields that boot has checked, in the one form that Node writes without building a table first. */
export interface PreparedHeaders {
  /** Name, value, name, value; names in lower case. Not frozen: V8 copies a frozen list several times slower. */
  readonly flat: readonly string[]
}

/** A name may stand in the list once; a header with several lines has a list as its value. */
export type HeaderList = OutgoingHttpHeader[]

/** What `writeHead` of Node takes: an object, a flat list or pairs. */
export type HeadArgument = OutgoingHttpHeaders | HeaderList | null | undefined

/** @throws TypeError of Node's own check when a name or a value cannot be sent (RFC 9110, section 5). */
export function prepareHeaders (headers: Readonly<Record<string, string>>): PreparedHeaders {
  const flat: string[] = []
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    setField(flat, name.toLowerCase(), value)
  }
  return Object.freeze({ flat })
}

/** Lower-case names to values. */
export function fieldsOf ({ flat }: PreparedHeaders): [name: string, value: string][] {
  return Array.from({ length: flat.length / 2 }, (_unused, field) => [flat[2 * field] ?? '', flat[2 * field + 1] ?? ''])
}

/** Where the value of a lower-case name stands in a list; -1 where it does not. */
export function positionOf (list: readonly unknown[], name: string): number {
  for (let at = 0; at < list.length; at += 2) if (list[at] === name) return at + 1
  return -1
}

/** Replaces the value of a lower-case name, or adds it. */
export function setField<Value> (list: (Value | string)[], name: string, value: Value): void {
  const at = positionOf(list, name)
  if (at === -1) list.push(name, value)
  else list[at] = value
}

/** Replaces in a list what `own` names, and adds the rest. */
export function layOver (list: HeaderList, own: HeadArgument): void {
  if (own === null || own === undefined) return
  if (Array.isArray(own)) {
    for (const [name, value] of valuesOf(own)) setField(list, name, value)
    return
  }
  // An undefined value goes on to Node, which refuses it as it always does.
  for (const name of Object.keys(own)) setField(list, name.toLowerCase(), own[name] as OutgoingHttpHeader)
}

/** A list may repeat a name, to send several lines of it. */
function valuesOf (own: HeaderList): Map<string, OutgoingHttpHeader> {
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

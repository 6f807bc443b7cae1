import { ServerResponse, validateHeaderName, validateHeaderValue, type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { wrapReplyMethod } from './reply-methods.js'

/** Header fields that boot has checked and laid out in the one form that Node writes without building a table first. */
export interface PreparedHeaders {
  /** Lower-case names to values. */
  readonly record: Readonly<Record<string, string>>
  /** Name, value, name, value. */
  readonly flat: readonly string[]
  /** Where a name's value stands in `flat`. */
  readonly positions: ReadonlyMap<string, number>
}

/** @throws TypeError of Node's own check when a name or a value cannot be sent (RFC 9110, section 5). */
export function prepareHeaders (headers: Readonly<Record<string, string>>): PreparedHeaders {
  const record = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  const flat: string[] = []
  const positions = new Map<string, number>()
  for (const [name, value] of Object.entries(record)) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    positions.set(name, flat.length + 1)
    flat.push(name, value)
  }
  return Object.freeze({ record: Object.freeze(record), flat, positions })
}

/**
 * Gives a reply headers that yield to whatever the app sets itself, before or after. On a server that was built with
 * `serverOptions()` nothing is copied before the head is written; on any other they are set one by one.
 */
export function setPreparedHeaders (reply: FastifyReply, headers: PreparedHeaders): void {
  const { raw } = reply
  if (raw instanceof PreparedResponse) {
    raw.setPreparedHeaders(headers)
    return
  }
  const { flat } = headers
  for (let at = 0; at < flat.length; at += 2) {
    const name = flat[at] as string
    if (!reply.hasHeader(name)) reply.header(name, flat[at + 1])
  }
}

const kRemovable: unique symbol = Symbol('bulwark.removablePreparedHeaders')

/** Lets `reply.removeHeader` drop prepared headers too; each plugin that sets some asks for it. */
export function makePreparedRemovable (app: FastifyInstance): void {
  if (app.hasReplyDecorator(kRemovable)) return
  app.decorateReply(kRemovable, null)
  wrapReplyMethod(app, 'removeHeader', (reply, [name], goOn) => {
    if (reply.raw instanceof PreparedResponse && !reply.raw.headersSent) reply.raw.removeHeader(name)
    return goOn()
  })
}

const NONE = prepareHeaders({})

/**
 * A response that sends prepared headers beneath its own. It overrides public methods only; whatever asks for a header
 * sees the prepared ones as if they had been set, and what is set or removed later wins.
 */
export class PreparedResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  #first = NONE
  #second = NONE
  /** True once anything was set one by one. */
  #mixed = false

  /** At most two sets stand side by side; a third is laid over the second. A name is only ever in one of them. */
  setPreparedHeaders (headers: PreparedHeaders): void {
    if (this.#first === NONE) {
      this.#first = headers
      return
    }
    this.#second = this.#second === NONE ? headers : prepareHeaders({ ...this.#second.record, ...headers.record })
    for (const name of headers.positions.keys()) if (this.#first.positions.has(name)) this.#first = without(this.#first, name)
  }

  override writeHead (statusCode: number, reason?: string, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this
  override writeHead (statusCode: number, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this
  override writeHead (statusCode: number, reason?: string | OutgoingHttpHeaders | OutgoingHttpHeader[], headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this {
    if (typeof reason === 'string') return super.writeHead(statusCode, reason, this.#withPrepared(headers))
    return super.writeHead(statusCode, this.#withPrepared(headers ?? reason))
  }

  #withPrepared (own: OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined): OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined {
    // Node throws where the head was written already.
    if (this.#first === NONE || this.headersSent) return own
    if (this.#mixed) {
      this.#setMissing(own)
      return own
    }
    const first = this.#first
    const second = this.#second
    const lines: OutgoingHttpHeader[] = second === NONE ? first.flat.slice() : first.flat.concat(second.flat)
    if (own === undefined) return lines
    if (Array.isArray(own)) return withList(lines, own)
    for (const name of Object.keys(own)) {
      const key = name.toLowerCase()
      const at = first.positions.get(key) ?? offset(second.positions.get(key), first.flat.length)
      // An undefined value goes on to Node, which refuses it as it always does.
      if (at === undefined) lines.push(name, own[name] as OutgoingHttpHeader)
      else lines[at] = own[name] as OutgoingHttpHeader
    }
    return lines
  }

  /** Once anything was set by `setHeader`, Node merges by name itself, but would let a prepared value win. */
  #setMissing (own: OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined): void {
    const taken = new Set(namesOf(own))
    for (const { record } of [this.#first, this.#second]) {
      for (const [name, value] of Object.entries(record)) {
        if (!taken.has(name) && !super.hasHeader(name)) super.setHeader(name, value)
      }
    }
  }

  #find (name: string): string | undefined {
    const key = name.toLowerCase()
    return valueOf(this.#first, key) ?? valueOf(this.#second, key)
  }

  override setHeader (name: string, value: number | string | readonly string[]): this {
    this.#mixed = true
    return super.setHeader(name, value)
  }

  override getHeader (name: string): number | string | string[] | undefined {
    return super.getHeader(name) ?? this.#find(name)
  }

  override hasHeader (name: string): boolean {
    return super.hasHeader(name) || this.#find(name) !== undefined
  }

  override getHeaderNames (): string[] {
    return [...new Set([...this.#first.positions.keys(), ...this.#second.positions.keys(), ...super.getHeaderNames()])]
  }

  override getHeaders (): OutgoingHttpHeaders {
    const all = super.getHeaders()
    for (const { record } of [this.#first, this.#second]) {
      for (const [name, value] of Object.entries(record)) all[name] ??= value
    }
    return all
  }

  override removeHeader (name: string): void {
    super.removeHeader(name)
    this.#first = without(this.#first, name)
    this.#second = without(this.#second, name)
  }

  override appendHeader (name: string, value: string | readonly string[]): this {
    const prepared = super.hasHeader(name) ? undefined : this.#find(name)
    if (prepared !== undefined) super.setHeader(name, prepared)
    this.#mixed = true
    return super.appendHeader(name, value)
  }
}

function valueOf ({ flat, positions }: PreparedHeaders, key: string): string | undefined {
  const at = positions.get(key)
  return at === undefined ? undefined : flat[at]
}

function offset (position: number | undefined, by: number): number | undefined {
  return position === undefined ? undefined : position + by
}

function without (headers: PreparedHeaders, name: string): PreparedHeaders {
  const key = name.toLowerCase()
  if (!headers.positions.has(key)) return headers
  return prepareHeaders(Object.fromEntries(Object.entries(headers.record).filter(([other]) => other !== key)))
}

type HeaderList = readonly (OutgoingHttpHeader | readonly OutgoingHttpHeader[])[]

/** Node takes names and values in one list, or in pairs; in the former only a value may be a list itself. */
function isPairs (own: HeaderList): own is readonly (readonly OutgoingHttpHeader[])[] {
  return Array.isArray(own[0])
}

function withList (prepared: readonly OutgoingHttpHeader[], own: HeaderList): OutgoingHttpHeader[] {
  const taken = new Set(namesOf(own))
  const lines: OutgoingHttpHeader[] = []
  for (let at = 0; at < prepared.length; at += 2) {
    if (!taken.has(String(prepared[at]))) lines.push(prepared[at] as string, prepared[at + 1] as OutgoingHttpHeader)
  }
  return lines.concat(isPairs(own) ? own.flat() : own as OutgoingHttpHeader[])
}

function namesOf (own: OutgoingHttpHeaders | HeaderList | undefined): string[] {
  if (own === undefined) return []
  if (!Array.isArray(own)) return Object.keys(own).map((name) => name.toLowerCase())
  const list: HeaderList = own
  return (isPairs(list) ? list.map(([name]) => name) : list.filter((_item, at) => at % 2 === 0)).map((name) => String(name).toLowerCase())
}

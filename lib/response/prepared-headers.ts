import { ServerResponse, validateHeaderName, validateHeaderValue, type IncomingMessage, type OutgoingHttpHeader,
  type OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply } from 'fastify'

/** Header fields that boot has checked and laid out in the one form that Node writes without building a table first. */
export interface PreparedHeaders {
  /** Name, value, name, value; names in lower case. Not frozen: V8 copies a frozen list several times slower. */
  readonly flat: readonly string[]
  /** Where a name's value stands in `flat`; `HIDDEN` for a header that is not sent, whoever sets it. */
  readonly positions: ReadonlyMap<string, number>
}

const HIDDEN = -1

/**
 * @param hidden names of headers that no answer may have, in lower case
 * @throws TypeError of Node's own check when a name or a value cannot be sent (RFC 9110, section 5).
 */
export function prepareHeaders (
  headers: Readonly<Record<string, string>>,
  hidden: readonly string[] = [],
): PreparedHeaders {
  const fields = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  for (const [name, value] of fields) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  }
  return layOut(fields, hidden)
}

/** Lower-case names to values. */
export function fieldsOf ({ flat, positions }: PreparedHeaders): [name: string, value: string][] {
  return [...positions].filter(([, at]) => at !== HIDDEN).map(([name, at]) => [name, flat[at] as string])
}

function hiddenOf ({ positions }: PreparedHeaders): string[] {
  return [...positions].filter(([, at]) => at === HIDDEN).map(([name]) => name)
}

function layOut (fields: ReadonlyMap<string, string>, hidden: readonly string[]): PreparedHeaders {
  const flat = [...fields].flat()
  return Object.freeze({ flat, positions: positionsOf([...fields.keys()], hidden.filter((name) => !fields.has(name))) })
}

const POSITIONS = new Map<string, ReadonlyMap<string, number>>()
const MAX_POSITIONS = 1000

/** Many blocks have the same names and differ in a value: they share the table. */
function positionsOf (names: readonly string[], hidden: readonly string[]): ReadonlyMap<string, number> {
  const key = `${names.join()} ${hidden.join()}`
  const positions = POSITIONS.get(key) ??
    new Map([
      ...names.map((name, index): [string, number] => [name, 2 * index + 1]),
      ...hidden.map((name): [string, number] => [name, HIDDEN]),
    ])
  if (POSITIONS.size < MAX_POSITIONS) POSITIONS.set(key, positions)
  return positions
}

const COMBINED = new WeakMap<PreparedHeaders, WeakMap<PreparedHeaders, PreparedHeaders>>()

/** Both, `above` over `below`; made once for each pair, because the same few pairs come with every request. */
function combine (below: PreparedHeaders, above: PreparedHeaders): PreparedHeaders {
  let pairs = COMBINED.get(below)
  if (pairs === undefined) COMBINED.set(below, pairs = new WeakMap())
  let both = pairs.get(above)
  if (both === undefined)
    {pairs.set(
      above,
      both = layOut(new Map([...fieldsOf(below), ...fieldsOf(above)]), [
        ...new Set([...hiddenOf(below), ...hiddenOf(above)]),
      ]),
    )}
  return both
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

/** Fits into one write of a socket that is free. */
const SHORT_TEXT = 8192

/** Whoever keeps something for each response until it is over. */
export interface Places { release (place: number, response: ServerResponse): void }

/**
 * A response that sends prepared headers beneath its own. It overrides public methods only; whatever asks for a header
 * sees the prepared ones as if they had been set, and what is set or removed later wins.
 */
export class PreparedResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  #prepared: PreparedHeaders | null = null
  /** True once anything was set one by one. */
  #mixed = false
  #places: Places | null = null
  #place = 0

  /**
   * Releases the place when the response is over, sent or not: a listener more would have Node copy a list of two for
   * every response.
   */
  holdPlace (places: Places, place: number): void {
    this.#places = places
    this.#place = place
  }

  override emit (event: string | symbol, ...values: unknown[]): boolean {
    if (this.#places !== null && (event === 'finish' || event === 'close')) {
      this.#places.release(this.#place, this)
      this.#places = null
    }
    return super.emit(event, ...values)
  }

  override end (callback?: () => void): this
  override end (chunk: unknown, callback?: () => void): this
  override end (chunk: unknown, encoding: BufferEncoding, callback?: () => void): this
  /**
   * Hands a short text to the socket in one piece with the head. Before version 24, Node's own `end` sends an empty
   * piece behind it, so that every answer is a list to be gathered: a tenth of the CPU time of a small one. All but the
   * plain case is left to Node.
   */
  override end (
    chunk?: unknown,
    encoding?: BufferEncoding | (() => void) | null,
    callback?: (() => void) | null,
  ): this {
    const { socket } = this
    const plain = typeof chunk === 'string' && chunk !== '' && chunk.length <= SHORT_TEXT &&
      (encoding ?? 'utf8') === 'utf8' && typeof callback !== 'function' &&
      // Of a head that is not made yet, Node derives the length from the text. A response that waits for others has no
      // socket.
      this.headersSent && !this.strictContentLength && socket !== null && socket.writableLength === 0 &&
      socket.writableCorked === 0
    // Node sorts out which of the three forms it is.
    if (!plain) return super.end(chunk, encoding as BufferEncoding, callback as () => void)
    socket.cork()
    try {
      // Not `this.write`: whoever replaced that one calls this method with what is to be sent as it is.
      super.write(chunk)
    } finally {
      socket.uncork()
    }
    return super.end()
  }

  /** What is given later lies over what was given before. */
  setPreparedHeaders (headers: PreparedHeaders): void {
    this.#prepared = this.#prepared === null ? headers : combine(this.#prepared, headers)
  }

  override writeHead (statusCode: number, reason?: string, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this
  override writeHead (statusCode: number, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this
  override writeHead (
    statusCode: number,
    reason?: string | OutgoingHttpHeaders | OutgoingHttpHeader[],
    headers?: OutgoingHttpHeaders | OutgoingHttpHeader[],
  ): this {
    if (typeof reason === 'string') return super.writeHead(statusCode, reason, this.#withPrepared(headers))
    return super.writeHead(statusCode, this.#withPrepared(headers ?? reason))
  }

  #withPrepared (
    own: OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined,
  ): OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined {
    const prepared = this.#prepared
    // Node throws where the head was written already.
    if (prepared === null || this.headersSent) return own
    if (this.#mixed) {
      this.#setMissing(prepared, own)
      return own === undefined ? own : withoutHidden(prepared, own)
    }
    const lines: OutgoingHttpHeader[] = prepared.flat.slice()
    if (own === undefined) return lines
    if (Array.isArray(own)) return withList(lines, withoutHidden(prepared, own) as HeaderList)
    for (const name of Object.keys(own)) {
      const at = prepared.positions.get(name.toLowerCase())
      // An undefined value goes on to Node, which refuses it as it always does.
      if (at === undefined) lines.push(name, own[name] as OutgoingHttpHeader)
      else if (at !== HIDDEN) lines[at] = own[name] as OutgoingHttpHeader
    }
    return lines
  }

  /** Once anything was set by `setHeader`, Node merges by name itself, but would let a prepared value win. */
  #setMissing (prepared: PreparedHeaders, own: OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined): void {
    const taken = new Set(namesOf(own))
    for (const name of hiddenOf(prepared)) super.removeHeader(name)
    for (const [name, value] of fieldsOf(prepared)) {
      if (!taken.has(name) && !super.hasHeader(name)) super.setHeader(name, value)
    }
  }

  #find (name: string): string | undefined {
    const prepared = this.#prepared
    const at = prepared?.positions.get(name.toLowerCase())
    return at === undefined || at === HIDDEN ? undefined : prepared?.flat[at]
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
    return [
      ...new Set([
        ...this.#prepared === null ? [] : fieldsOf(this.#prepared).map(([name]) => name),
        ...super.getHeaderNames(),
      ]),
    ]
  }

  override getHeaders (): OutgoingHttpHeaders {
    const all = super.getHeaders()
    if (this.#prepared !== null) for (const [name, value] of fieldsOf(this.#prepared)) all[name] ??= value
    return all
  }

  override removeHeader (name: string): void {
    super.removeHeader(name)
    const key = name.toLowerCase()
    const prepared = this.#prepared
    if (prepared !== null && this.#find(key) !== undefined)
      {this.#prepared = layOut(new Map(fieldsOf(prepared).filter(([other]) => other !== key)), hiddenOf(prepared))}
  }

  override appendHeader (name: string, value: string | readonly string[]): this {
    const prepared = super.hasHeader(name) ? undefined : this.#find(name)
    if (prepared !== undefined) super.setHeader(name, prepared)
    this.#mixed = true
    return super.appendHeader(name, value)
  }
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

function withoutHidden (
  prepared: PreparedHeaders,
  own: OutgoingHttpHeaders | OutgoingHttpHeader[],
): OutgoingHttpHeaders | OutgoingHttpHeader[] {
  const isHidden = (name: unknown): boolean => prepared.positions.get(String(name).toLowerCase()) === HIDDEN
  if (!namesOf(own).some(isHidden)) return own
  if (!Array.isArray(own)) return Object.fromEntries(Object.entries(own).filter(([name]) => !isHidden(name)))
  const list: HeaderList = own
  if (isPairs(list)) return list.filter(([name]) => !isHidden(name)) as unknown as OutgoingHttpHeader[]
  return own.filter((_item, at) => !isHidden(own[at - at % 2]))
}

function namesOf (own: OutgoingHttpHeaders | HeaderList | undefined): string[] {
  if (own === undefined) return []
  if (!Array.isArray(own)) return Object.keys(own).map((name) => name.toLowerCase())
  const list: HeaderList = own
  return (isPairs(list) ? list.map(([name]) => name) : list.filter((_item, at) => at % 2 === 0)).map((name) =>
    String(name).toLowerCase()
  )
}

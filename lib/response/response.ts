import type { FastifyReply, FastifyRequest } from 'fastify'
import { ServerResponse, type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders } from 'node:http'
import { Head, type FinalStep } from './finish.js'
import { combine, fieldsOf, NO_HEADERS, without, type HeadArgument, type PreparedHeaders } from './headers.js'

/** Fits into one write of a socket that is free. */
const SHORT_TEXT = 8192

/**
 * A response that sends prepared headers beneath its own, and runs the final steps when its head is written. It
 * overrides public methods only. The prepared headers can be read as if they had been set; what is set or removed later
 * wins.
 */
export class PreparedResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  #prepared = NO_HEADERS
  #steps: readonly FinalStep[] = []
  #request: FastifyRequest | null = null
  #whenOver: (() => void) | null = null

  /** Calls back when the response is sent or its connection is gone. */
  whenOver (callback: () => void): void {
    this.#whenOver = callback
  }

  /** Avoids a listener for `whenOver`, which would make Node copy its listener array for every response. */
  override emit (event: string | symbol, ...values: unknown[]): boolean {
    if (this.#whenOver !== null && (event === 'finish' || event === 'close')) {
      this.#whenOver()
      this.#whenOver = null
    }
    return super.emit(event, ...values)
  }

  override end (callback?: () => void): this
  override end (chunk: unknown, callback?: () => void): this
  override end (chunk: unknown, encoding: BufferEncoding, callback?: () => void): this
  /**
   * Hands a short text to the socket in one piece with its head. Before version 24, Node's own `end` sends an empty
   * piece behind it: a tenth of the CPU time of a small answer. All but the plain case is left to Node.
   */
  override end (
    chunk?: unknown,
    encoding?: BufferEncoding | (() => void) | null,
    callback?: (() => void) | null,
  ): this {
    const { socket } = this
    const isPlain = typeof chunk === 'string' && chunk !== '' && chunk.length <= SHORT_TEXT &&
      (encoding ?? 'utf8') === 'utf8' && typeof callback !== 'function' &&
      // Of a head that is not made yet, Node derives the length from the text. A response in a queue has no socket.
      this.headersSent && !this.strictContentLength && socket !== null && socket.writableLength === 0 &&
      socket.writableCorked === 0
    // Node sorts out which of the three forms it is.
    if (!isPlain) return super.end(chunk, encoding as BufferEncoding, callback as () => void)
    socket.cork()
    try {
      // Not `this.write`: code that replaced that one calls this method with what is to be sent as it is.
      super.write(chunk)
    } finally {
      socket.uncork()
    }
    return super.end()
  }

  /** What is given later lies over what was given before. */
  setPreparedHeaders (headers: PreparedHeaders): void {
    this.#prepared = this.#prepared === NO_HEADERS ? headers : combine(this.#prepared, headers)
  }

  finishWith (steps: readonly FinalStep[], request: FastifyRequest): void {
    this.#steps = steps
    this.#request = request
  }

  override writeHead (statusCode: number, reason?: string, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this
  override writeHead (statusCode: number, headers?: OutgoingHttpHeaders | OutgoingHttpHeader[]): this
  override writeHead (statusCode: number, reason?: string | HeadArgument, headers?: HeadArgument): this {
    // Node throws where the head was written already.
    if (this.headersSent) return super.writeHead(statusCode)
    const own = typeof reason === 'string' ? headers : headers ?? reason
    const prepared = this.#prepared
    const set = super.getHeaderNames().length === 0 ? null : super.getHeaders()
    const head = new Head(this, statusCode, prepared, set, own)
    if (this.#request !== null) for (const step of this.#steps) step(head, this.#request)
    // Node may remove each header of the list before it sets it. If it refuses one, another answer follows.
    this.#prepared = NO_HEADERS
    try {
      return typeof reason === 'string'
        ? super.writeHead(statusCode, reason, head.list)
        : super.writeHead(statusCode, head.list)
    } finally {
      this.#prepared = prepared
    }
  }

  #find (name: string): string | undefined {
    const { flat, positions } = this.#prepared
    const at = positions.get(name.toLowerCase())
    return at === undefined ? undefined : flat[at]
  }

  override getHeader (name: string): number | string | string[] | undefined {
    return super.getHeader(name) ?? this.#find(name)
  }

  override hasHeader (name: string): boolean {
    return super.hasHeader(name) || this.#find(name) !== undefined
  }

  override getHeaderNames (): string[] {
    return [...new Set([...this.#prepared.positions.keys(), ...super.getHeaderNames()])]
  }

  override getHeaders (): OutgoingHttpHeaders {
    const all = super.getHeaders()
    for (const [name, value] of fieldsOf(this.#prepared)) all[name] ??= value
    return all
  }

  override removeHeader (name: string): void {
    super.removeHeader(name)
    this.#prepared = without(this.#prepared, name.toLowerCase())
  }

  override appendHeader (name: string, value: string | readonly string[]): this {
    const prepared = super.hasHeader(name) ? undefined : this.#find(name)
    if (prepared !== undefined) super.setHeader(name, prepared)
    return super.appendHeader(name, value)
  }
}

/**
 * Gives a reply headers that yield to what the app sets itself, before or after. On a server that was built with
 * `serverOptions()` nothing is copied before the head is written; on any other they are set one by one.
 */
export function setPreparedHeaders (reply: FastifyReply, headers: PreparedHeaders): void {
  const { raw } = reply
  if (raw instanceof PreparedResponse) {
    raw.setPreparedHeaders(headers)
    return
  }
  const { flat, positions } = headers
  for (const [name, at] of positions) if (!reply.hasHeader(name)) reply.header(name, flat[at])
}

/** Calls back when the response is sent or its connection is gone. */
export function whenOver (raw: ServerResponse, callback: () => void): void {
  if (raw instanceof PreparedResponse) raw.whenOver(callback)
  else raw.once('close', callback)
}

/**
 * Runs the steps when the head of the answer is written, by Fastify or by the app itself. A response of another class,
 * as in `app.inject` or on a server that was built without `serverOptions()`, gets a `writeHead` of its own for it.
 */
export function finishWith (reply: FastifyReply, steps: readonly FinalStep[]): void {
  const { raw, request } = reply
  if (raw instanceof PreparedResponse) {
    raw.finishWith(steps, request)
    return
  }
  if (steps.length === 0) return
  const writeHead = raw.writeHead.bind(raw)
  raw.writeHead = function writeFinalHead (statusCode: number, reason?: string | HeadArgument, headers?: HeadArgument) {
    const given: unknown[] = [statusCode]
    // Node throws where the head was written already.
    if (!raw.headersSent) {
      const own = typeof reason === 'string' ? headers : headers ?? reason
      const head = new Head(raw, statusCode, NO_HEADERS, raw.getHeaders(), own)
      for (const step of steps) step(head, request)
      given.push(...typeof reason === 'string' ? [reason, head.list] : [head.list])
    }
    return Reflect.apply(writeHead, undefined, given) as typeof raw
  }
}

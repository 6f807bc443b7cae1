import type { FastifyRequest } from 'fastify'
import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http'
import { valuesOf, type HeadArgument, type PreparedHeaders } from './headers.js'

/** Runs when the head of an answer is written, after every hook and handler: nothing can change the head any more. */
export type FinalStep = (head: Head, request: FastifyRequest) => void

const NO_POSITIONS: ReadonlyMap<string, number> = new Map()

/** The head of an answer. Names of headers are in lower case. */
export class Head {
  readonly status: number
  /** What is sent: name, value, name, value. Each name stands there once; several lines are a list of values. */
  readonly list: OutgoingHttpHeader[]
  readonly #response: { removeHeader (name: string): void }
  /** Where the first values stand, up to `#known`; the few behind them are looked through. */
  #positions: ReadonlyMap<string, number>
  #known: number

  /**
   * @param prepared headers that yield to all others
   * @param set what was set on the response
   * @param own what `writeHead` was given; it lies over the others
   */
  constructor (
    response: { removeHeader (name: string): void },
    status: number,
    prepared: PreparedHeaders,
    set: OutgoingHttpHeaders | null,
    own: HeadArgument,
  ) {
    this.#response = response
    this.status = status
    this.list = prepared.flat.slice()
    this.#positions = prepared.positions
    this.#known = this.list.length
    if (set !== null) this.#layOver(set)
    if (own !== null && own !== undefined) this.#layOver(own)
  }

  has (name: string): boolean {
    return this.#find(name) !== -1
  }

  /** Several lines are one list (RFC 9110, section 5.3). */
  get (name: string): string | undefined {
    const at = this.#find(name)
    if (at === -1) return undefined
    const value = this.list[at]
    return Array.isArray(value) ? value.join(', ') : String(value)
  }

  set (name: string, value: OutgoingHttpHeader): void {
    const at = this.#find(name)
    if (at === -1) this.list.push(name, value)
    else this.list[at] = value
  }

  remove (name: string): void {
    const at = this.#find(name)
    if (at === -1) return
    this.list.splice(at - 1, 2)
    this.#positions = NO_POSITIONS
    this.#known = 0
    // Node sends what was set on the response beside the list.
    this.#response.removeHeader(name)
  }

  #layOver (own: OutgoingHttpHeaders | OutgoingHttpHeader[]): void {
    if (Array.isArray(own)) {
      for (const [name, value] of valuesOf(own)) this.set(name, value)
      return
    }
    // An undefined value goes on to Node, which refuses it as it always does.
    for (const name of Object.keys(own)) this.set(name.toLowerCase(), own[name] as OutgoingHttpHeader)
  }

  #find (name: string): number {
    const position = this.#positions.get(name)
    if (position !== undefined) return position
    for (let at = this.#known; at < this.list.length; at += 2) if (this.list[at] === name) return at + 1
    return -1
  }
}

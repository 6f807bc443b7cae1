import type { FastifyRequest } from 'fastify'
import type { OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http'
import { layOver, positionOf, setField, type HeadArgument, type HeaderList } from './headers.js'

/** Runs when the head of an answer is written, after every hook and handler: nothing can change the head any more. */
export type FinalStep = (head: Head, request: FastifyRequest) => void

/** The head of an answer. Names of headers are in lower case. */
export class Head {
  readonly status: number
  /** What is sent, in Node's flat form. */
  readonly list: HeaderList
  readonly #response: { removeHeader (name: string): void }

  /**
   * @param prepared headers that yield to all others
   * @param set what was set on the response
   * @param own what `writeHead` was given; it lies over the others
   */
  constructor (
    response: { removeHeader (name: string): void },
    status: number,
    prepared: readonly string[],
    set: OutgoingHttpHeaders | null,
    own: HeadArgument,
  ) {
    this.#response = response
    this.status = status
    this.list = prepared.slice()
    layOver(this.list, set)
    layOver(this.list, own)
  }

  has (name: string): boolean {
    return positionOf(this.list, name) !== -1
  }

  /** Several lines are one list (RFC 9110, section 5.3). */
  get (name: string): string | undefined {
    const value: OutgoingHttpHeader | undefined = this.list[positionOf(this.list, name)]
    return Array.isArray(value) ? value.join(', ') : value === undefined ? undefined : String(value)
  }

  set (name: string, value: string): void {
    setField<OutgoingHttpHeader>(this.list, name, value)
  }

  remove (name: string): void {
    const at = positionOf(this.list, name)
    if (at === -1) return
    this.list.splice(at - 1, 2)
    // Node sends what was set on the response beside the list.
    this.#response.removeHeader(name)
  }
}

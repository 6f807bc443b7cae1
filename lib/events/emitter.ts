import { EventEmitter } from 'node:events'
import type { FastifyRequest } from 'fastify'
import { nearest } from '../options/nearest.js'
import { EVENT_NAMES, type EventFields, type EventName, type SecurityEvent } from './catalogue.js'

/** An event as listeners and the diagnostics channel get it; frozen. */
export type SecurityEventRecord<N extends EventName = EventName> = {
  [K in N]: Readonly<{
    name: K
    /** Milliseconds since 1970. */
    time: number
    /** Null for what no request caused. */
    requestId: string | null
    ip: string | null
    method: string | null
    /** The matched route's pattern, never the requested URL; null for a 404. */
    route: string | null
  }> & EventFields[K]
}[N]

/** One event's name, or `*` for all. */
export type Listenable = EventName | '*'

/** A promise it returns is not waited for; its failure is logged. */
export type SecurityEventListener<N extends Listenable> = (
  event: SecurityEventRecord<N extends EventName ? N : EventName>,
) => unknown

type AnyListener = (event: never) => unknown

/**
 * `app.security.events`. Listeners are called while the request is handled: hand slow work to a queue. A listener that
 * throws or rejects is logged and disturbs neither the request nor the other listeners. A name that is not in the
 * catalogue throws a TypeError.
 */
export class SecurityEvents {
  readonly #emitter = new EventEmitter()
  readonly #record: (event: SecurityEvent, request: FastifyRequest | null) => void

  constructor (record: (event: SecurityEvent, request: FastifyRequest | null) => void) {
    this.#record = record
  }

  /**
   * Reports what only the app can know, such as a changed password; the request is the one that caused it. Fields that
   * the catalogue does not have are dropped.
   */
  emit<N extends EventName> (name: N, fields: EventFields[N], request: FastifyRequest | null): void {
    assertEvent(name)
    // The fields are those of this very name; the recorder reads no others.
    this.#record({ ...fields, name } as SecurityEvent, request)
  }

  on<N extends Listenable> (name: N, listener: SecurityEventListener<N>): this {
    this.#emitter.on(known(name), listener)
    return this
  }

  once<N extends Listenable> (name: N, listener: SecurityEventListener<N>): this {
    this.#emitter.once(known(name), listener)
    return this
  }

  off<N extends Listenable> (name: N, listener: SecurityEventListener<N>): this {
    this.#emitter.off(known(name), listener)
    return this
  }

  static hasListeners (events: SecurityEvents, name: EventName): boolean {
    return events.#emitter.listenerCount(name) > 0 || events.#emitter.listenerCount('*') > 0
  }

  /** Static, so that the events that listeners get can only come from the plugin, cleaned and counted. */
  static deliver (events: SecurityEvents, record: SecurityEventRecord, onFailure: (error: unknown) => void): void {
    for (const name of [record.name, '*']) {
      // The raw listeners: that of `once` removes itself when it is called.
      for (const listener of events.#emitter.rawListeners(name) as AnyListener[]) call(listener, record, onFailure)
    }
  }
}

/** A listener of a misspelt name would never be called. */
function known (name: Listenable): Listenable {
  if (name !== '*') assertEvent(name)
  return name
}

function assertEvent (name: EventName): void {
  if (EVENT_NAMES.includes(name)) return
  const near = nearest(name, EVENT_NAMES)
  throw new TypeError(`There is no security event "${name}".${near === null ? '' : ` Did you mean "${near}"?`}`)
}

function call (listener: AnyListener, record: SecurityEventRecord, onFailure: (error: unknown) => void): void {
  try {
    const result = listener(record as never)
    if (result instanceof Promise) result.catch(onFailure)
  } catch (error) {
    onFailure(error)
  }
}

import { channel, type Channel } from 'node:diagnostics_channel'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { EVENT_FIELDS, EVENT_LEVELS, type SecurityEvent } from './catalogue.js'
import { SecurityEvents, type SecurityEventRecord } from './emitter.js'
import { EventSampler, WINDOW_MILLISECONDS, type Suppressed } from './sampler.js'
import { safeField, safeText } from './sanitize.js'

/** Node's diagnostics channel that gets every security event of every server in the process. */
export const CHANNEL_NAME = 'bulwark:security'

export interface RecorderOptions {
  /** Log lines of one event in a window of ten seconds. */
  readonly logLimit: number
  readonly log: FastifyBaseLogger
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Sends each event to the log (sampled), to the diagnostics channel and to the listeners (every one). */
export class EventRecorder {
  readonly events = new SecurityEvents()
  readonly #channel: Channel = channel(CHANNEL_NAME)
  readonly #sampler: EventSampler
  readonly #log: FastifyBaseLogger
  readonly #now: () => number
  #timer: NodeJS.Timeout | null = null

  constructor ({ logLimit, log, now }: RecorderOptions) {
    this.#sampler = new EventSampler(logLimit)
    this.#log = log
    this.#now = now
  }

  record (event: SecurityEvent, request: FastifyRequest | null): void {
    const now = this.#now()
    const { name } = event
    const ended = this.#sampler.ended(name, now)
    if (ended !== null) this.#report(ended)
    const logged = this.#sampler.admits(name, now)
    const heard = this.#channel.hasSubscribers || SecurityEvents.hasListeners(this.events, name)
    if (!logged) this.#scheduleReport()
    // Under attack most events end here: nothing was allocated for them.
    if (!logged && !heard) return

    const fields = fieldsOf(event)
    const route = request === null ? null : request.routeOptions.url ?? null
    const ip = request === null ? null : safeText(request.ip)
    if (logged) (request?.log ?? this.#log)[EVENT_LEVELS[name]]({ event: name, ...fields, ...request !== null && { ip, route } }, name)
    if (!heard) return
    // The fields are those that the catalogue declares for this name.
    const record = Object.freeze({ name, ...fields, time: now, requestId: request === null ? null : safeText(request.id), ip, method: request?.method ?? null, route }) as SecurityEventRecord
    if (this.#channel.hasSubscribers) this.#channel.publish(record)
    SecurityEvents.deliver(this.events, record, (error) => { this.#log.error({ err: error, event: name }, 'a listener of security events failed') })
  }

  /** Reports what is still uncounted in the log. */
  close (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    for (const suppressed of this.#sampler.allEnded(Infinity)) this.#report(suppressed)
  }

  #report ({ name, count }: Suppressed): void {
    this.#log[EVENT_LEVELS[name]]({ event: name, suppressed: count }, name)
  }

  /** An attack that stops must be reported too; the timer never keeps the process alive. */
  #scheduleReport (): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      for (const suppressed of this.#sampler.allEnded(this.#now())) this.#report(suppressed)
    }, WINDOW_MILLISECONDS).unref()
  }
}

function fieldsOf (event: SecurityEvent): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const name of EVENT_FIELDS[event.name] as readonly string[]) {
    const value = safeField((event as unknown as Readonly<Record<string, unknown>>)[name])
    if (value !== undefined) fields[name] = value
  }
  return fields
}


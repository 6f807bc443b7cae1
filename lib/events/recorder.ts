import { channel, type Channel } from 'node:diagnostics_channel'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { rememberRecent } from '../common/recent.js'
import { addressPrefix, isShort } from '../net/address.js'
import { EVENTS, type SecurityEvent } from './catalogue.js'
import { SecurityEvents, type SecurityEventRecord } from './emitter.js'
import { EventSampler, WINDOW_MILLISECONDS, type SamplerLimits, type Suppressed } from './sampler.js'
import { safeField, safeText } from './sanitize.js'

/** Node's diagnostics channel that gets every security event of every server in the process. */
export const CHANNEL_NAME = 'bulwark:security'

export interface RecorderOptions {
  /** Log lines in a window of ten seconds. */
  readonly limits: SamplerLimits
  readonly log: FastifyBaseLogger
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Sends each event to the log (sampled), to the diagnostics channel and to the listeners (every one). */
export class EventRecorder {
  readonly events = new SecurityEvents((event, request) => { this.record(event, request) })
  readonly #channel: Channel = channel(CHANNEL_NAME)
  readonly #sampler: EventSampler
  readonly #log: FastifyBaseLogger
  readonly #now: () => number
  #timer: NodeJS.Timeout | null = null

  constructor ({ limits, log, now }: RecorderOptions) {
    this.#sampler = new EventSampler(limits)
    this.#log = log
    this.#now = now
  }

  record (event: SecurityEvent, request: FastifyRequest | null): void {
    const now = this.#now()
    const { name } = event
    const ended = this.#sampler.ended(name, now)
    if (ended !== null) this.#report(ended)
    const logged = this.#sampler.admits(name, callerOf(event, request), now)
    const heard = this.#channel.hasSubscribers || SecurityEvents.hasListeners(this.events, name)
    if (!logged) this.#scheduleReport()
    // Under attack most events end here: nothing of the request was read but its address.
    if (!logged && !heard) return

    const fields = fieldsOf(event)
    const route = request === null ? null : request.routeOptions.url ?? null
    const address: unknown = request?.ip
    // A socket that is gone has no address any more, although Fastify's types say that it has.
    const ip = typeof address === 'string' ? safeText(address) : null
    if (logged) {
      (request?.log ?? this.#log)[EVENTS[name].level](
        { event: name, ...fields, ...request !== null && { ip, route } },
        name,
      )
    }
    if (!heard) return
    // The fields are those that the catalogue declares for this name.
    const record = Object.freeze({
      name,
      ...fields,
      time: now,
      requestId: request === null ? null : safeText(request.id),
      ip,
      method: request?.method ?? null,
      route,
    }) as SecurityEventRecord
    if (this.#channel.hasSubscribers) this.#channel.publish(record)
    SecurityEvents.deliver(this.events, record, (error) => {
      this.#log.error({ err: error, event: name }, 'a listener of security events failed')
    })
  }

  /** Reports what the log has not counted yet. */
  close (): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    for (const suppressed of this.#sampler.allEnded(Infinity)) this.#report(suppressed)
  }

  #report ({ name, count, callers }: Suppressed): void {
    this.#log[EVENTS[name].level]({
      event: name,
      suppressed: count,
      callers: callers.map(({ caller, suppressed }) => ({ caller: safeText(caller), suppressed })),
    }, name)
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
  for (const name of EVENTS[event.name].fields as readonly string[]) {
    const value = safeField((event as unknown as Readonly<Record<string, unknown>>)[name])
    if (value !== undefined) fields[name] = value
  }
  return fields
}

/** Longer than any address; bounds what the sampler keeps of an id. */
const LONGEST_CALLER = 64

const prefixOf = rememberRecent(addressPrefix, 1024)

/** The caller that an event counts for: the sender of the request, else the user or the store of the event. */
function callerOf (event: SecurityEvent, request: FastifyRequest | null): string {
  if (request !== null) {
    const { ip } = request
    // Not a string for a request whose socket is gone already.
    return isShort(ip) ? prefixOf(ip) : 'unknown'
  }
  const subject: unknown = 'userId' in event ? event.userId : 'store' in event ? event.store : ''
  return typeof subject === 'string' ? subject.slice(0, LONGEST_CALLER) : ''
}

import { Type, type Static } from '@sinclair/typebox'
import type { AccessLogSettings } from './access-log.js'
import type { SamplerLimits } from './sampler.js'

const AccessLogSchema = Type.Object({
  userAgent: Type.Optional(
    Type.Boolean({ description: "Whether the line names the client's software. Default: true." }),
  ),
}, { additionalProperties: false })

export const EventsOptionsSchema = Type.Object({
  logLimit: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 100_000,
      description:
        'How many log lines one event may have in ten seconds, 0 to 100000; ' +
        'the rest is counted in one line. Default: 100.',
    }),
  ),
  callerLogLimit: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 100_000,
      description: 'How many of them one caller may cause, 0 to 100000. Default: 20.',
    }),
  ),
  accessLog: Type.Optional(
    Type.Union([Type.Boolean(), AccessLogSchema], {
      description:
        "false writes no line for each request; { userAgent: false } leaves the client's software out. Default: true.",
    }),
  ),
}, { additionalProperties: false })

/** Options of the events plugin. */
export type EventsOptions = Static<typeof EventsOptionsSchema>

/** Checked, complete and frozen. */
export interface ResolvedEventsPolicy {
  readonly limits: SamplerLimits
  readonly accessLog: AccessLogSettings | null
}

export function resolveEvents (
  { logLimit = 100, callerLogLimit = 20, accessLog = true }: EventsOptions,
): ResolvedEventsPolicy {
  return Object.freeze({
    limits: Object.freeze({ total: logLimit, caller: callerLogLimit }),
    accessLog: accessLog === false
      ? null
      : Object.freeze({ userAgent: accessLog === true || accessLog.userAgent !== false }),
  })
}

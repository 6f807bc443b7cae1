import type { FastifyServerOptions } from 'fastify'
import { Writable } from 'node:stream'
import { logSerializers } from '../../lib/logging/serializers.js'

export interface LogLine {
  readonly level: number
  readonly msg?: string
  readonly reqId?: string
  readonly [key: string]: unknown
}

/** A logger whose lines a test can read, with the suite's serializers. */
export function captureLogs (): {
  readonly logger: NonNullable<FastifyServerOptions['logger']>
  readonly lines: LogLine[]
} {
  const lines: LogLine[] = []
  const stream = new Writable({
    write (chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as LogLine)
      done()
    },
  })
  return { logger: { level: 'info', stream, serializers: logSerializers }, lines }
}

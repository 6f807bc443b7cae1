import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { createServer, defineSecurity, publicRoute } from '../../index.js'
import type { EventsOptions } from '../../plugins/events.js'
import { captureLogs, type LogLine } from '../helpers/logs.js'

export const SECRET = 'hunter2-hunter2'
export const open = { security: { auth: publicRoute('a route of the test') } }

export interface Service {
  readonly app: FastifyInstance
  readonly lines: LogLine[]
  readonly requests: () => LogLine[]
}

/** A server whose log lines are kept. `own`: without the suite's serializers and hooks. */
export async function build (
  t: Test,
  definition: { readonly env?: object, readonly events?: EventsOptions | false } = {},
  options: FastifyServerOptions = {},
  stream: 'own' | 'suite' = 'suite',
): Promise<Service> {
  const { logger, lines } = captureLogs()
  // The suite's own serializers and hooks are what is tested.
  const app = await createServer(defineSecurity(definition as { readonly events?: EventsOptions | false }), {
    logger: stream === 'own' ? logger : { stream: (logger as { stream: never }).stream },
    ...options,
  }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  return { app, lines, requests: () => lines.filter(({ msg }) => msg === 'request') }
}

export async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

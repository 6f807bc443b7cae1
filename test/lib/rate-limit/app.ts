import { setTimeout as wait } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyServerOptions, type InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { BulwarkConfigError, type Problem } from '../../../lib/response/errors.js'
import type { SecurityEvent } from '../../../lib/events/catalogue.js'
import { securityOf } from '../../../lib/policy/install.js'
import { rateLimit, type RateLimitOptions } from '../../../plugins/rate-limit.js'

/** An address that no test shares with the machine itself. */
export const REMOTE = '198.51.100.7'

/** An app with the limiter alone, and the events it emits. */
export async function build (
  t: Test,
  options: RateLimitOptions = {},
  server: FastifyServerOptions = {},
): Promise<{ app: FastifyInstance, events: SecurityEvent[] }> {
  const app = Fastify(server)
  t.teardown(() => app.close())
  await app.register(rateLimit, options)
  const events: SecurityEvent[] = []
  securityOf(app).root.emit = (event) => { events.push(event) }
  return { app, events }
}

/** Status codes of `times` equal requests, one after the other. */
export async function statuses (app: FastifyInstance, times: number, request: InjectOptions): Promise<number[]> {
  const found: number[] = []
  for (let count = 0; count < times; count++) {
    found.push((await app.inject({ remoteAddress: REMOTE, ...request })).statusCode)
  }
  return found
}

/** A sign-in route that counts how often its handler ran. */
export function addLogin (app: FastifyInstance, names: readonly string[] = ['login']): { guesses: number } {
  const seen = { guesses: 0 }
  app.post('/login', { security: { rateLimit: { only: names } } }, async (request, reply) => {
    seen.guesses++
    await wait(1)
    const { password } = request.body as { password?: string }
    if (password === 'right') return { ok: true }
    if (password === 'crash') throw new Error('the database text')
    return await reply.code(401).send({ ok: false })
  })
  return seen
}

export function login (email: unknown, password = 'wrong', remoteAddress = REMOTE): InjectOptions {
  return { method: 'POST', url: '/login', payload: { email, password }, remoteAddress }
}

/** The problems that stop the boot; an empty list when it succeeds. */
export async function bootProblems (ready: () => PromiseLike<unknown>): Promise<readonly Problem[]> {
  return await Promise.resolve(ready()).then(() => [], (error: unknown) => {
    if (error instanceof BulwarkConfigError) return error.problems
    throw error as Error
  })
}

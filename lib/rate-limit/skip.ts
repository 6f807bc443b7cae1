import type { FastifyRequest } from 'fastify'
import type { Skip } from './options.js'
import type { ResolvedLimit } from './policies.js'

const QUIET_MS = 60_000
const quietUntil = new WeakMap<Skip, number>()

/**
 * Asks a limit's `skip`. One that throws, or answers anything but true or false, skips nothing: it must not open the
 * limit.
 */
export function isSkipped ({ skip, item }: ResolvedLimit, request: FastifyRequest): boolean {
  if (skip === null) return false
  let answer: unknown
  try {
    answer = skip(request)
  } catch (error) {
    report(skip, item, request, error)
    return false
  }
  if (typeof answer === 'boolean') return answer
  // No one else handles its rejection.
  if (answer instanceof Promise) answer.catch(() => {})
  report(
    skip,
    item,
    request,
    new TypeError(`skip answered ${answer instanceof Promise ? 'a promise' : typeof answer}, not true or false`),
  )
  return false
}

/** At most once a minute for each function, so that an attack does not flood the log. */
function report (skip: Skip, item: string, request: FastifyRequest, error: unknown): void {
  const now = performance.now()
  if (now < (quietUntil.get(skip) ?? 0)) return
  quietUntil.set(skip, now + QUIET_MS)
  request.log.error(
    { err: error, policy: item },
    'the skip function of a rate limit failed, so the request was counted',
  )
}

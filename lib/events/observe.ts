import type { FastifyInstance } from 'fastify'
import type { SecurityApi } from '../policy/types.js'
import { BulwarkConfigError } from '../response/errors.js'

/**
 * `app.security` for a plugin that reports what happens there.
 * @throws BulwarkConfigError at `path` when the events plugin is not there to listen to
 */
export function observedSecurity (app: FastifyInstance, path: string): SecurityApi {
  const security = (app as { readonly security?: SecurityApi }).security
  if (security === undefined || !('events' in security)) {
    throw new BulwarkConfigError([{
      path,
      message: 'There are no security events to report.',
      fix: 'Register it after the suite, with the events plugin turned on.',
    }])
  }
  return security
}

/** What a limiter counts of the requests of a policy. */
export const LIMIT_OUTCOMES = [
  'allowed', 'denied', 'shadow', 'nearLimit', 'fallback', 'denyCacheHits', 'penalized',
] as const

import { BulwarkConfigError } from '../response/errors.js'

/** A route that needs no session, with the reason. Made by `publicRoute` only. */
export class PublicRoute {
  /** Private, so that no look-alike object is one. */
  readonly #made = true
  readonly why: string

  constructor (why: string) {
    this.why = why
    Object.freeze(this)
  }

  static is (value: unknown): value is PublicRoute {
    return typeof value === 'object' && value !== null && #made in value && value.#made
  }
}

/**
 * Declares that a route needs no session, and why: `security: { auth: publicRoute('uptime probe') }`. Its cookies are
 * not read at all.
 * @throws BulwarkConfigError without a reason.
 */
export function publicRoute (why: string): PublicRoute {
  if (typeof why !== 'string' || why.trim() === '') {
    throw new BulwarkConfigError([{
      path: 'publicRoute',
      message: 'A public route without a reason.',
      fix: "Say why, for example publicRoute('uptime probe').",
    }])
  }
  return new PublicRoute(why)
}

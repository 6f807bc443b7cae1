import { refusal, type SecurityError } from '../response/errors.js'
import { eventPaths, fieldErrors, type Finding } from './messages.js'

/** What a refused request part was, for the security event. */
export interface Rejection { readonly part: string, readonly paths: readonly string[] }

/** Keeps what was refused beside its error, where a handler or a client cannot see it. */
const REJECTIONS = new WeakMap<object, Rejection>()

/** The refusal of a request part; `max` findings at most are told. */
export function reject (part: string, findings: readonly Finding[], max: number): SecurityError {
  const error = refusal('VALIDATION_FAILED', { members: { errors: fieldErrors(part, findings, max) } })
  REJECTIONS.set(error, { part, paths: eventPaths(part, findings, max) })
  return error
}

/** What was refused, once for each error, so that nested hooks do not report it twice; null for any other error. */
export function takeRejection (error: unknown): Rejection | null {
  if (typeof error !== 'object' || error === null) return null
  const rejection = REJECTIONS.get(error) ?? null
  REJECTIONS.delete(error)
  return rejection
}

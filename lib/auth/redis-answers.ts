import { byRefresh } from './session-order.js'
import type { EndReason, SessionInfo, SessionState } from './session-store.js'

const REASONS: readonly EndReason[] = ['logout', 'login', 'user', 'revoked', 'reuse', 'expired', 'evicted']

/** Parts of a session's state. */
export const STATE_PARTS = 8

/** Parts per session in the list. */
const INFO_PARTS = 7

/** Readers of what a script answers; null for anything of another shape, because it comes from outside. */
export function listOf (answer: unknown): unknown[] | null {
  return Array.isArray(answer) ? answer : null
}

export function textsOf (parts: readonly unknown[]): string[] | null {
  return parts.every((part): part is string => typeof part === 'string') ? [...parts] : null
}

export function endReasonOf (part: unknown): EndReason | null {
  return REASONS.find((reason) => reason === part) ?? null
}

/**
 * {generation, hash, rotated, idle, absolute, authTime, methods, token version}: numbers as texts, so that none is cut.
 */
export function stateOf (parts: readonly unknown[]): SessionState | null {
  const [generation, rotatedAt, idleAt, absoluteAt, authTime, tokenVersion] = [
    parts[0],
    parts[2],
    parts[3],
    parts[4],
    parts[5],
    parts[7],
  ].map(Number)
  const [, jtiHash] = parts
  const methods = methodsOf(parts[6])
  if (
    generation === undefined || rotatedAt === undefined || idleAt === undefined || absoluteAt === undefined ||
    authTime === undefined || tokenVersion === undefined
  ) return null
  if (
    typeof jtiHash !== 'string' || methods === null ||
    ![generation, rotatedAt, idleAt, absoluteAt, authTime, tokenVersion].every(Number.isSafeInteger)
  ) return null
  return { generation, jtiHash, rotatedAt, idleAt, absoluteAt, authTime, methods, tokenVersion }
}

/** The one refreshed last first. */
export function sessionInfosOf (parts: readonly unknown[]): SessionInfo[] | null {
  const found: SessionInfo[] = []
  for (let at = 0; at < parts.length; at += INFO_PARTS) {
    const [sessionId, created, rotated, idle, absolute, label, written] = parts.slice(at, at + INFO_PARTS)
    const [createdAt, refreshedAt, idleAt, absoluteAt] = [
      Number(created),
      Number(rotated),
      Number(idle),
      Number(absolute),
    ]
    const methods = methodsOf(written)
    if (
      typeof sessionId !== 'string' || typeof label !== 'string' || methods === null ||
      ![createdAt, refreshedAt, idleAt, absoluteAt].every(Number.isSafeInteger)
    ) return null
    found.push({ sessionId, createdAt, refreshedAt, idleAt, absoluteAt, label, methods })
  }
  return found.sort(byRefresh)
}

function methodsOf (text: unknown): readonly string[] | null {
  if (typeof text !== 'string') return null
  try {
    const methods: unknown = JSON.parse(text)
    return Array.isArray(methods) ? textsOf(methods) : null
  } catch {
    return null
  }
}

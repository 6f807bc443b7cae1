import { integerOf, textOf, unknownAnswer } from '../redis/script-runner.js'
import { byRefresh } from './session-order.js'
import type { EndReason, SessionInfo, SessionState } from './session-store.js'

const REASONS: readonly EndReason[] = ['logout', 'login', 'user', 'revoked', 'reuse', 'expired', 'evicted']

/** Parts of a session's state. */
export const STATE_PARTS = 8

/** Parts of each session in the list. */
const INFO_PARTS = 7

/** @throws TypeError for anything else; so do all readers of this file. */
export function endReasonOf (part: unknown): EndReason {
  const reason = REASONS.find((known) => known === part)
  if (reason === undefined) throw unknownAnswer()
  return reason
}

export function stateOf (parts: readonly unknown[]): SessionState {
  const [generation, jtiHash, rotatedAt, idleAt, absoluteAt, authTime, methods, tokenVersion] = parts
  return {
    generation: integerOf(generation),
    jtiHash: textOf(jtiHash),
    rotatedAt: integerOf(rotatedAt),
    idleAt: integerOf(idleAt),
    absoluteAt: integerOf(absoluteAt),
    authTime: integerOf(authTime),
    methods: methodsOf(methods),
    tokenVersion: integerOf(tokenVersion),
  }
}

/** The one refreshed last first. */
export function sessionInfosOf (parts: readonly unknown[]): SessionInfo[] {
  const found: SessionInfo[] = []
  for (let at = 0; at < parts.length; at += INFO_PARTS) {
    const [sessionId, createdAt, refreshedAt, idleAt, absoluteAt, label, methods] = parts.slice(at, at + INFO_PARTS)
    found.push({
      sessionId: textOf(sessionId),
      createdAt: integerOf(createdAt),
      refreshedAt: integerOf(refreshedAt),
      idleAt: integerOf(idleAt),
      absoluteAt: integerOf(absoluteAt),
      label: textOf(label),
      methods: methodsOf(methods),
    })
  }
  return found.sort(byRefresh)
}

function methodsOf (part: unknown): string[] {
  const methods: unknown = JSON.parse(textOf(part))
  if (!Array.isArray(methods)) throw unknownAnswer()
  return methods.map(textOf)
}

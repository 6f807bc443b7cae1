import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { CheckLiveness, TokenOwner } from './liveness.js'
import type { Revocation } from './options.js'
import type { Liveness, SessionStore } from './session-store.js'

/** What an access token says of itself, as `request.auth` has it. */
export interface SocketOwner extends TokenOwner {
  /** Epoch seconds. */
  readonly expiresAt: number
}

/** Closes WebSockets when the access token that opened them ends. */
export interface SocketGuard {
  /** Watches the socket of an upgrade request whose token was accepted, until it closes. */
  watch (request: IncomingMessage, response: ServerResponse, owner: SocketOwner, revocation: Revocation): void
  /** Sockets that are watched now. */
  readonly size: number
  /** Lets go of all sockets: the server is closing. */
  close (): void
}

export interface SocketGuardSettings {
  readonly store: Pick<SessionStore, 'onChange'>
  readonly checkLiveness: CheckLiveness
  /** How long a socket may outlive its session where the store cannot tell of it at once. */
  readonly delayMs: number
  /** Epoch milliseconds on the clock that all instances share. */
  readonly now: () => number
}

interface Watched {
  readonly socket: Socket
  readonly owner: SocketOwner
  readonly revocation: Revocation
  /** Of the socket before the handshake was answered. */
  readonly bytesWritten: number
  /** When the question was asked whose answer was that the session lives. */
  confirmedAt: number
  askedAt: number
  /** Waiting for an answer. */
  isPending: boolean
  /** Asked since, and not told that the session lives. */
  isDoubtful: boolean
  readonly forget: () => void
}

/** RFC 6455, section 7.4.1: what the endpoint received violates its policy; the server is going down. */
const POLICY_VIOLATION = 1008
const GOING_AWAY = 1001
/** Registered with IANA by the author of RFC 6455: try again later. */
const TRY_AGAIN_LATER = 1013

const DESTROY_AFTER_MS = 1000
const MAX_TICK_MS = 1000
const MIN_TICK_MS = 25

/**
 * A WebSocket passes the guards once, at its handshake, and then lives on for as long as it likes; so it is closed with
 * the token that opened it. Works on the raw socket, with any library that speaks the protocol on it: a close frame is
 * written where one frame ends and the next begins, because every library hands over whole frames.
 *
 * All sockets share one timer. It finds expired tokens, and asks again for the sessions that were not checked lately.
 */
export function createSocketGuard ({ store, checkLiveness, delayMs, now }: SocketGuardSettings): SocketGuard {
  const sockets = new Map<Socket, Watched>()
  const bySession = new Map<string, Set<Watched>>()
  const tickMs = Math.min(Math.max(delayMs / 4, MIN_TICK_MS), MAX_TICK_MS)
  // Twice within the delay, and at each tick when an answer failed: one that is lost does not cost the socket.
  const askEveryMs = delayMs / 2
  const unconfirmedMs = Math.max(delayMs, 4 * tickMs)
  let timer: NodeJS.Timeout | null = null
  let closed = false

  function drop (watched: Watched, code: number, reason: string): void {
    watched.forget()
    closeSocket(watched, code, reason)
  }

  function settle (watched: readonly Watched[], liveness: Liveness): void {
    for (const one of watched) {
      one.isPending = false
      if (liveness === 'alive') Object.assign(one, { confirmedAt: one.askedAt, isDoubtful: false })
      else drop(one, POLICY_VIOLATION, liveness === 'outdated' ? 'TOKEN_EXPIRED' : 'SESSION_REVOKED')
    }
  }

  /**
   * Asks once for all sockets of a token version of one session, past any cache: a push says that what is remembered is
   * wrong, and a remembered answer on top of the delay would be twice as old.
   */
  function ask (watched: readonly Watched[]): void {
    const [first] = watched
    if (first === undefined) return
    for (const one of watched) Object.assign(one, { askedAt: now(), isPending: true, isDoubtful: true })
    // Not closed yet: the next tick asks again, or finds that the store has not answered for too long.
    const unknown = (): void => { for (const one of watched) one.isPending = false }
    try {
      const liveness = checkLiveness('strict', first.owner)
      if (typeof liveness === 'string') settle(watched, liveness)
      else liveness.then((answer) => { settle(watched.filter(({ socket }) => sockets.has(socket)), answer) }, unknown)
    } catch {
      unknown()
    }
  }

  function askFor (sessionIds: Iterable<string>, which: (watched: Watched) => boolean): void {
    for (const sessionId of sessionIds) {
      const byVersion = new Map<number, Watched[]>()
      for (const watched of bySession.get(sessionId) ?? []) {
        if (!which(watched)) continue
        const { tokenVersion } = watched.owner
        const same = byVersion.get(tokenVersion)
        if (same === undefined) byVersion.set(tokenVersion, [watched])
        else same.push(watched)
      }
      for (const same of byVersion.values()) ask(same)
    }
  }

  function isDue ({ revocation, askedAt, isDoubtful, isPending }: Watched): boolean {
    return revocation !== 'stateless' && !isPending && (isDoubtful || now() - askedAt >= askEveryMs)
  }

  function tick (): void {
    const at = now()
    const nowSeconds = Math.floor(at / 1000)
    const due = new Set<string>()
    for (const watched of sockets.values()) {
      const { owner, revocation, confirmedAt, isDoubtful } = watched
      if (owner.expiresAt <= nowSeconds) drop(watched, POLICY_VIOLATION, 'TOKEN_EXPIRED')
      // The store has not answered for as long as an ended session may go on at most. Requests are refused then, and
      // this socket is closed: a kept socket would be the way around a store that an attacker can keep busy.
      else if (isDoubtful && revocation !== 'stateless' && at - confirmedAt >= unconfirmedMs) {
        drop(watched, TRY_AGAIN_LATER, 'STORE_UNAVAILABLE')
      } else if (isDue(watched)) due.add(owner.sessionId)
    }
    askFor(due, isDue)
  }

  function forget (watched: Watched): void {
    const { socket, owner: { sessionId } } = watched
    if (sockets.get(socket) !== watched) return
    sockets.delete(socket)
    const own = bySession.get(sessionId)
    own?.delete(watched)
    if (own?.size === 0) bySession.delete(sessionId)
    if (sockets.size > 0 || timer === null) return
    clearInterval(timer)
    timer = null
  }

  store.onChange((sessionIds) => { askFor(sessionIds, () => true) })

  return Object.freeze<SocketGuard>({
    get size () { return sockets.size },

    watch (request, response, owner, revocation) {
      // Only a simulated request has no socket, and a closing server takes no more of them.
      const socket = request.socket as Socket | undefined
      if (closed || socket === undefined || socket.destroyed) return
      sockets.get(socket)?.forget()
      const at = now()
      const watched: Watched = {
        socket,
        owner,
        revocation,
        bytesWritten: socket.bytesWritten,
        confirmedAt: at,
        // At the first tick: the guard's answer may have been a remembered one, or the session ended since.
        askedAt: 0,
        isPending: false,
        isDoubtful: false,
        forget () {
          socket.removeListener('close', watched.forget)
          response.removeListener('finish', watched.forget)
          forget(watched)
        },
      }
      socket.once('close', watched.forget)
      // Answered as HTTP (refused, or no WebSocket route): what follows on this connection is not ours to close.
      response.once('finish', watched.forget)
      sockets.set(socket, watched)
      const own = bySession.get(owner.sessionId)
      if (own === undefined) bySession.set(owner.sessionId, new Set([watched]))
      else own.add(watched)
      timer ??= setInterval(tick, tickMs).unref()
    },

    close () {
      closed = true
      for (const watched of [...sockets.values()]) drop(watched, GOING_AWAY, '')
    },
  })
}

/** Says why where that can still be heard, and ends the connection whether or not the other side agrees. */
function closeSocket ({ socket, bytesWritten }: Watched, code: number, reason: string): void {
  if (socket.destroyed) return
  // Before the handshake is answered a frame would stand where its status line belongs.
  if (!socket.writable || socket.bytesWritten === bytesWritten) {
    socket.destroy()
    return
  }
  // The library may go on writing after the end; the error of that needs a listener.
  socket.on('error', ignore)
  // What the other side still sends is not read: it has no user's authority any more.
  socket.pause()
  socket.end(closeFrame(code, reason))
  const timer = setTimeout(() => { socket.destroy() }, DESTROY_AFTER_MS).unref()
  socket.once('close', () => { clearTimeout(timer) })
}

function ignore (): void {}

/** RFC 6455, section 5.5.1: FIN and opcode 8, at most 125 bytes, unmasked as a server sends it. */
function closeFrame (code: number, reason: string): Buffer {
  const text = Buffer.from(reason)
  const frame = Buffer.alloc(4 + text.length)
  frame[0] = 0x88
  frame[1] = 2 + text.length
  frame.writeUInt16BE(code, 2)
  text.copy(frame, 4)
  return frame
}

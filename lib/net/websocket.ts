import type { IncomingMessage } from 'node:http'

/** A request that asks for a WebSocket: it names both headers of the handshake (RFC 6455, section 4.2.1). */
export function isWebSocketUpgrade ({ headers: { upgrade, connection } }: IncomingMessage): boolean {
  return upgrade !== undefined && connection !== undefined && /(?:^|[\s,])websocket(?:$|[\s,/])/i.test(upgrade) &&
    /(?:^|[\s,])upgrade(?:$|[\s,])/i.test(connection)
}

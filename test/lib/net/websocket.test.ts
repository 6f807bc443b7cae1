import { test } from 'tap'
import { isWebSocketUpgrade } from '../../../lib/net/websocket.js'

test('only a request for a WebSocket is one', (t) => {
  const table: [Record<string, string>, boolean][] = [
    [{ upgrade: 'websocket', connection: 'Upgrade' }, true],
    [{ upgrade: 'WebSocket', connection: 'keep-alive, upgrade' }, true],
    [{ upgrade: 'h2c, websocket/13', connection: 'upgrade' }, true],
    [{ upgrade: 'h2c', connection: 'Upgrade' }, false],
    [{ upgrade: 'websocket' }, false],
    [{ connection: 'upgrade' }, false],
    [{ upgrade: 'notwebsocket', connection: 'upgrade' }, false],
    [{ upgrade: 'websocket', connection: 'close' }, false],
    [{}, false],
  ]
  for (const [headers, expected] of table) {
    t.equal(
      isWebSocketUpgrade({ headers } as Parameters<typeof isWebSocketUpgrade>[0]),
      expected,
      JSON.stringify(headers),
    )
  }
  t.end()
})

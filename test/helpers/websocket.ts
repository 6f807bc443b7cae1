import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import type { Socket } from 'node:net'

/** What became of an attempt to open a WebSocket: a connection, or the status that refused it. */
export interface Attempt { readonly status: number, readonly client: Client | null }

/** As little of RFC 6455 as a test needs: short texts, and how the connection was closed. */
export class Client {
  readonly socket: Socket
  /** Resolves to the code and reason of the close frame; `1006 ` when none came. */
  readonly closed: Promise<string>
  readonly texts: string[] = []
  isOpen = true
  #buffer = Buffer.alloc(0)
  #said = '1006 '

  constructor (socket: Socket, head: Buffer) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => { this.#read(chunk) })
    this.closed = once(socket, 'close').then(() => {
      this.isOpen = false
      return this.#said
    })
    this.#read(head)
  }

  send (text: string): void {
    this.#write(0x81, Buffer.from(text))
  }

  close (code: number): void {
    const payload = Buffer.alloc(2)
    payload.writeUInt16BE(code)
    this.#write(0x88, payload)
  }

  #write (opcode: number, payload: Buffer): void {
    const mask = randomBytes(4)
    this.socket.write(
      Buffer.concat([
        Buffer.from([opcode, 0x80 | payload.length]),
        mask,
        payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0)),
      ]),
    )
  }

  #read (chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk])
    for (;;) {
      const [first, length = 0] = this.#buffer
      if (first === undefined || this.#buffer.length < 2 + length) return
      const payload = this.#buffer.subarray(2, 2 + length)
      this.#buffer = this.#buffer.subarray(2 + length)
      if (first === 0x81) this.texts.push(payload.toString())
      // The first one counts (RFC 6455, section 5.5.1), and is answered.
      if (first !== 0x88 || this.#said !== '1006 ') continue
      this.#said = length === 0 ? '1005 ' : `${payload.readUInt16BE(0)} ${payload.subarray(2).toString()}`
      this.close(1000)
    }
  }
}

export async function openSocket (port: number, path: string, headers: Record<string, string> = {}): Promise<Attempt> {
  return await new Promise((resolve, reject) => {
    const attempt = request({
      port,
      path,
      // A refusal ends the connection, whatever keep-alive says.
      agent: false,
      host: '127.0.0.1',
      headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': randomBytes(16).toString('base64'), ...headers },
    })
    attempt.on('upgrade', (_response, socket, head) => { resolve({ status: 101, client: new Client(socket, head) }) })
    attempt.on('response', (response) => {
      response.resume()
      resolve({ status: response.statusCode ?? 0, client: null })
    })
    attempt.on('error', reject)
    attempt.end()
  })
}

/** The server's half of the handshake, for tests without a library. */
export function acceptLine (key: string | undefined): string {
  const accept = createHash('sha1').update(`${key ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}

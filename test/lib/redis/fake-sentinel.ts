import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

export interface FakeSentinel {
  readonly host: string
  readonly port: number
  /** Announces a new master while the next client that asks for the master waits for its answer. */
  announceAtNextQuestion (): void
  /** Clients that listen for announcements. */
  readonly listeners: () => number
}

const text = (word: string): string => `$${word.length}\r\n${word}\r\n`
const list = (...items: string[]): string => `*${items.length}\r\n${items.join('')}`

/** A Sentinel that knows one master, and says at the right moment what a real one says at any. */
export async function startFakeSentinel (t: Test, masterPort: number): Promise<FakeSentinel> {
  const subscribers = new Set<Socket>()
  let announces = false
  const master = list(text('127.0.0.1'), text(String(masterPort)))

  async function answer (socket: Socket, command: string): Promise<void> {
    if (/\bsubscribe\r/i.test(command)) {
      subscribers.add(socket)
      socket.write(list(text('subscribe'), text('+switch-master'), ':1\r\n'))
    } else if (/get-master-addr-by-name/i.test(command)) {
      if (announces) {
        announces = false
        const message = `main 127.0.0.1 1 127.0.0.1 ${masterPort}`
        for (const subscriber of subscribers) subscriber.write(list(text('message'), text('+switch-master'), text(message)))
        await sleep(50)
      }
      socket.write(master)
    } else if (/\bsentinels\r/i.test(command)) {
      socket.write(list())
    } else {
      socket.write(/\bhello\r/i.test(command) ? '-ERR unknown command HELLO\r\n' : '+OK\r\n')
    }
  }

  const server = createServer((socket) => {
    let answered = Promise.resolve()
    socket.on('error', () => {})
    socket.on('close', () => subscribers.delete(socket))
    socket.on('data', (chunk) => {
      // Each command begins with the number of its parts, and these are short: they never come in pieces.
      for (const command of String(chunk).split(/(?=\*\d+\r\n)/)) answered = answered.then(() => answer(socket, command))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    announceAtNextQuestion: () => { announces = true },
    listeners: () => subscribers.size,
  }
}

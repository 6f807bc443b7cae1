// Open-loop load at a fixed rate. A request is due at its time whether or not earlier ones were answered, and its
// latency counts from then: a server that stalls is charged for all who would have come meanwhile (no coordinated
// omission).
import { once } from 'node:events'
import { connect } from 'node:net'

const CONNECTIONS = 64

class Connection {
  #socket
  #text = ''
  #dueAt = 0
  #onAnswer

  constructor (socket, onAnswer) {
    this.#socket = socket
    this.#onAnswer = onAnswer
    socket.setNoDelay(true)
    socket.setEncoding('latin1')
    socket.on('data', (chunk) => { this.#read(chunk) })
  }

  send (request, dueAt) {
    this.#dueAt = dueAt
    this.#socket.write(request, 'latin1')
  }

  #read (chunk) {
    this.#text += chunk
    const end = this.#text.indexOf('\r\n\r\n')
    if (end === -1) return
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#text.slice(0, end))?.[1] ?? 0)
    if (this.#text.length < end + 4 + length) return
    const status = Number(this.#text.slice(9, 12))
    this.#text = ''
    this.#onAnswer(this, this.#dueAt, status)
  }

  close () {
    this.#socket.destroy()
  }
}

/**
 * @param requests latin-1 texts that take turns
 * @returns latencies in ms, in the order of the answers
 */
export async function pacedLoad (port, requests, { status, perSecond, seconds, connections = CONNECTIONS }) {
  const latencies = []
  const idle = []
  const due = []
  const onAnswer = (connection, dueAt, actual) => {
    if (actual !== status) throw new Error(`status ${actual} where ${status} is expected`)
    latencies.push(performance.now() - dueAt)
    const next = due.shift()
    if (next === undefined) idle.push(connection)
    else connection.send(next.request, next.dueAt)
  }
  for (let index = 0; index < connections; index++) {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    idle.push(new Connection(socket, onAnswer))
  }
  const all = [...idle]
  const total = Math.round(perSecond * seconds)
  const startedAt = performance.now()
  let sent = 0
  await new Promise((resolve, reject) => {
    // Timers are a millisecond wide, so the clock is read at every turn of the loop: the generator has a core of its
    // own.
    const turn = () => {
      try {
        const now = performance.now()
        while (sent < total && startedAt + sent * 1000 / perSecond <= now) {
          const dueAt = startedAt + sent * 1000 / perSecond
          const request = requests[sent++ % requests.length]
          const connection = idle.pop()
          if (connection === undefined) due.push({ request, dueAt })
          else connection.send(request, dueAt)
        }
        if (latencies.length === total) resolve()
        else setImmediate(turn)
      } catch (error) {
        reject(error)
      }
    }
    turn()
  })
  for (const connection of all) connection.close()
  return latencies
}

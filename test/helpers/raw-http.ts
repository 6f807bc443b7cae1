import { connect } from 'node:net'

export interface RawResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * Bytes as they are on the wire: what no HTTP client would send. Resolves when the server closes, or after `waitMs` of
 * silence.
 */
export function exchange (port: number, request: string, waitMs = 2000): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(request)
    })
    socket.setEncoding('latin1').setTimeout(waitMs, () => {
      socket.destroy()
    })
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
    })
    socket.on('close', () => {
      resolve(text)
    })
  })
}

/** The first response in the text. */
export function parseResponse (text: string): RawResponse {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
  }
  return { status: Number(statusLine.split(' ')[1]), headers, body: rest.join('\r\n\r\n') }
}

export async function rawResponse (port: number, request: string, waitMs?: number): Promise<RawResponse> {
  return parseResponse(await exchange(port, request, waitMs))
}

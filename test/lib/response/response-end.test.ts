import { createServer, ServerResponse, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { PreparedResponse } from '../../../lib/response/response.js'
import { exchange } from '../../helpers/raw-http.js'

type Handler = (response: ServerResponse, log: (what: string) => void) => void

const plainHead = (response: ServerResponse, text: string): ServerResponse =>
  response.writeHead(200, ['content-type', 'text/plain', 'content-length', String(Buffer.byteLength(text))])
const sent = (text: string): Handler => (response) => {
  plainHead(response, text).end(text, null as never, null as never)
}
const caught = (log: (what: string) => void, run: () => unknown): void => {
  try {
    run()
  } catch (error) {
    log(`threw ${String((error as NodeJS.ErrnoException).code)}`)
  }
}

function replaceWrite (response: ServerResponse): void {
  const write = response.write.bind(response)
  response.write = ((chunk: string) => write(chunk.toUpperCase())) as typeof response.write
}

/**
 * Whatever an app may do at the end of a response; both kinds must put the same bytes on the wire and tell the same of
 * it.
 */
const HANDLERS: Readonly<Record<string, Handler>> = {
  'a short text': sent('{"ok":true}'),
  'one character': sent('x'),
  'text beyond ASCII': sent('héllo €🙂'),
  'the longest of short texts': sent('x'.repeat(8192)),
  'as many, of three bytes each': sent('€'.repeat(8192)),
  'longer than that': sent('x'.repeat(8193)),
  'more than a socket takes at once': sent('é'.repeat(3_000_000)),
  'an empty text': sent(''),
  'utf8 by name': (response) => {
    plainHead(response, 'é').end('é', 'utf8')
  },
  'another encoding': (response) => {
    response.writeHead(200, { 'content-length': 1 }).end('é', 'latin1')
  },
  'hex': (response) => {
    response.writeHead(200, { 'content-length': 2 }).end('6869', 'hex')
  },
  'bytes': (response) => {
    plainHead(response, 'bytes').end(Buffer.from('bytes'))
  },
  'a callback behind the text': (response, log) => {
    plainHead(response, 'x').end('x', () => {
      log('callback')
    })
  },
  'a callback behind the encoding': (response, log) => {
    plainHead(response, 'x').end('x', 'utf8', () => {
      log('callback')
    })
  },
  'a callback alone': (response, log) => {
    plainHead(response, '').end(() => {
      log('callback')
    })
  },
  'no head yet': (response) => {
    response.end('text')
  },
  'headers set, no head yet': (response) => {
    response.setHeader('content-length', 4).setHeader('x-own', '1').end('text')
  },
  'no length': (response) => {
    response.writeHead(200, { 'content-type': 'text/plain' }).end('text')
  },
  'chunked': (response) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' }).end('text')
  },
  'trailers': (response) => {
    response.writeHead(200, { trailer: 'x-sum' }).addTrailers({ 'x-sum': '1' })
    response.end('text')
  },
  'connection: close': (response) => {
    response.writeHead(200, { 'content-length': 4, connection: 'close' }).end('text')
  },
  'written before': (response) => {
    response.writeHead(200, { 'content-length': 8 }).write('some')
    response.end('text')
  },
  'written and flushed before': (response) => {
    response.writeHead(200, { 'content-length': 8 }).write('some')
    setImmediate(() => {
      response.end('text')
    })
  },
  'flushed before': (response) => {
    response.writeHead(200, { 'content-length': 4 }).flushHeaders()
    setImmediate(() => {
      response.end('text')
    })
  },
  'corked by the app': (response) => {
    response.cork()
    plainHead(response, 'text').end('text')
  },
  'a body where none may be': (response) => {
    response.writeHead(204).end('text')
  },
  'not modified, with a body': (response) => {
    response.writeHead(304, { 'content-length': 4 }).end('text')
  },
  'an early hint before': (response) => {
    response.writeEarlyHints({ link: '</a>; rel=preload' })
    plainHead(response, 'text').end('text')
  },
  'ended twice': (response, log) => {
    plainHead(response, 'text').end('text')
    response.end()
    response.end((error?: Error) => {
      log(`again: ${String((error as NodeJS.ErrnoException | undefined)?.code)}`)
    })
  },
  'text after the end': (response, log) => {
    response.on('error', (error: NodeJS.ErrnoException) => {
      log(String(error.code))
    })
    plainHead(response, 'text').end('text')
    response.end('more')
  },
  'a text that is longer than declared': (response) => {
    response.strictContentLength = true
    response.writeHead(200, { 'content-length': 2 })
    response.end('text')
  },
  'a text that is shorter than declared': (response) => {
    response.strictContentLength = true
    response.writeHead(200, { 'content-length': 9 })
    response.end('text')
  },
  'destroyed before': (response) => {
    plainHead(response, 'text')
    response.destroy()
    response.end('text')
  },
  'write replaced, as a compressor does': (response) => {
    replaceWrite(response)
    plainHead(response, 'somefoot')
    response.write('some')
    response.end('foot')
  },
  'write replaced, and nothing written before': (response) => {
    replaceWrite(response)
    plainHead(response, 'foot').end('foot')
  },
}

const REQUESTS: Readonly<Record<string, (path: string) => string>> = {
  'keep-alive, then another': (path) =>
    `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\nGET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
  'close': (path) => `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
  'HEAD': (path) => `HEAD ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
  'HTTP/1.0': (path) => `GET ${path} HTTP/1.0\r\n\r\n`,
}

interface Told { readonly log: string[], readonly ended: Promise<unknown> }

async function serve (
  t: Test,
  Response: typeof ServerResponse,
): Promise<{ readonly port: number, readonly told: Told[] }> {
  const told: Told[] = []
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const log: string[] = []
    told.push({
      log,
      ended: new Promise((resolve) => {
        request.socket.once('close', () => setImmediate(resolve))
      }),
    })
    for (const event of ['prefinish', 'finish', 'close'])
      {response.on(event, () => {
        log.push(`${event} ${String(response.writableEnded)} ${String(response.writableFinished)}`)
      })}
    const handler = request.url === '/last' ? sent('last') : HANDLERS[decodeURIComponent((request.url ?? '').slice(1))]
    const tell = (what: string): void => { log.push(what) }
    caught(tell, () => {
      handler?.(response, tell)
    })
    if (log.some((what) => what.startsWith('threw'))) response.destroy()
  }
  const server = createServer({ ServerResponse: Response }, answer)
  server.listen(0, '127.0.0.1')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  await new Promise((resolve) => server.once('listening', resolve))
  return { port: (server.address() as AddressInfo).port, told }
}

test('a prepared response ends as any other does: the same bytes, the same events, the same errors', async (t) => {
  const servers = [await serve(t, PreparedResponse), await serve(t, ServerResponse)]
  for (const name of Object.keys(HANDLERS)) {
    for (const [kind, request] of Object.entries(REQUESTS)) {
      const [prepared, plain] = await Promise.all(servers.map(async ({ port, told }) => {
        const from = told.length
        const bytes = await exchange(port, request(`/${encodeURIComponent(name)}`), 500)
        const log = told.slice(from)
        await Promise.all(log.map(({ ended }) => ended))
        return { bytes: bytes.replaceAll(/^date: .*\r\n/gim, ''), log: log.map((one) => one.log) }
      }))
      t.ok((prepared?.log.length ?? 0) > 0, 'the handler ran')
      t.ok(prepared?.bytes === plain?.bytes, `${name}, ${kind}: bytes`, {
        prepared: prepared?.bytes.slice(0, 500),
        plain: plain?.bytes.slice(0, 500),
      })
      t.same(prepared?.log, plain?.log, `${name}, ${kind}: events`)
    }
  }
})

test('answers to pipelined requests come whole and in their order', async (t) => {
  for (const Response of [PreparedResponse, ServerResponse]) {
    const { port } = await serve(t, Response)
    const names = [
      'a short text',
      'no length',
      'longer than that',
      'written and flushed before',
      'one character',
      'text beyond ASCII',
    ]
    const bytes = await exchange(
      port,
      names.map((name) => `GET /${encodeURIComponent(name)} HTTP/1.1\r\nhost: a\r\n\r\n`).join('') +
        'GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
      2000,
    )
    const bodies = bytes.split(/HTTP\/1\.1 200 OK\r\n[\s\S]*?\r\n\r\n/).slice(1)
    t.same(bodies.map((body) => Buffer.from(body, 'latin1').toString().slice(0, 12)), [
      '{"ok":true}',
      '4\r\ntext\r\n0\r\n',
      'xxxxxxxxxxxx',
      'sometext',
      'x',
      'héllo €🙂',
      'last',
    ])
  }
})

test('a short text is one write to the socket', async (t) => {
  let written = 0
  const server = createServer({ ServerResponse: PreparedResponse }, (_request, response) => {
    const { socket } = response
    if (socket === null) throw new Error('no socket')
    const write = socket.write.bind(socket) as (...given: unknown[]) => boolean
    socket.write = (...given: unknown[]) => { written++; return write(...given) }
    plainHead(response, 'text').end('text')
  })
  server.listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await new Promise((resolve) => server.once('listening', resolve))
  t.match(
    await exchange((server.address() as AddressInfo).port, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'),
    /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\ntext$/,
  )
  t.equal(written, 1)
})

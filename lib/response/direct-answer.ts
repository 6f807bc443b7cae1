import type { FastifyReply } from 'fastify'
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { PROBLEM_MEDIA_TYPE, type RenderedProblem } from './problem.js'

/**
 * The last answer: past every hook and serializer, because one of them has failed already on a refusal. The reply's
 * headers go with it, without those that Node refuses and those that the failure itself brought.
 */
export function answerDirectly (reply: FastifyReply, failure: unknown, problem: RenderedProblem): void {
  const { raw } = reply
  if (raw.headersSent) {
    // Part of another answer is on its way: cut off, it cannot be taken for a whole one.
    raw.destroy()
    return
  }
  for (const name of headersOf(failure)) reply.removeHeader(name)
  for (const [name, value] of Object.entries(reply.getHeaders())) if (!isSendable(name, value)) reply.removeHeader(name)
  reply.hijack()
  raw.writeHead(problem.status, {
    'content-type': PROBLEM_MEDIA_TYPE,
    'content-length': Buffer.byteLength(problem.body),
  })
  raw.end(problem.body)
}

/** Fastify's own handler copies `headers` of an error into the reply before it sends. */
function headersOf (failure: unknown): string[] {
  try {
    return Object.keys((failure as { readonly headers?: object }).headers ?? {})
  } catch {
    return []
  }
}

function isSendable (name: string, value: unknown): boolean {
  try {
    validateHeaderName(name)
    for (const item of Array.isArray(value) ? value as unknown[] : [value]) validateHeaderValue(name, String(item))
    return true
  } catch {
    return false
  }
}

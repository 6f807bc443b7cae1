import type { FastifyReply } from 'fastify'
import { test } from 'tap'
import { answerDirectly } from '../../../lib/response/direct-answer.js'
import { renderProblem } from '../../../lib/response/problem.js'

test('an answer of which part is on its way is cut off, and nothing is written into it', async (t) => {
  const calls: string[] = []
  const note = (name: string) => () => {
    calls.push(name)
  }
  const reply = {
    raw: { headersSent: true, destroy: note('destroy'), writeHead: note('writeHead'), end: note('end') },
    hijack: note('hijack'),
  }
  answerDirectly(reply as unknown as FastifyReply, new Error('x'), renderProblem(null, 'id', null))
  t.same(calls, ['destroy'])
})

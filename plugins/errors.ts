/**
 * Every error leaves as an RFC 9457 problem document with a stable code and the request id; a 5xx tells nothing of its
 * cause, which stands in the log under the same id. An app's own error handler in a scope takes precedence there.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyError, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { assertNoProblems, SecurityError, type Problem } from '../lib/errors.js'
import { checkOptions } from '../lib/options.js'
import { addSection, claimRegistration } from '../lib/policy/install.js'
import { defineSection, type Verdict } from '../lib/policy/section.js'
import { PROBLEM_MEDIA_TYPE, renderProblem } from '../lib/problem.js'

export const ErrorsOptionsSchema = Type.Object({
  typeBase: Type.Optional(Type.String({ pattern: '^https?://', description: 'Write the address that a code is appended to in `type`, for example https://docs.example.com/errors#. Default: about:blank.' })),
}, { additionalProperties: false })

/** Options of the errors plugin. */
export type ErrorsOptions = Static<typeof ErrorsOptionsSchema>

/** Reports what is wrong with the plugin's options. */
export function checkErrors (input: unknown, problems: Problem[]): ErrorsOptions {
  return checkOptions(ErrorsOptionsSchema, input, 'errors', problems) ?? {}
}

const errorsPlugin: FastifyPluginAsync<ErrorsOptions> = async (app, options) => {
  claimRegistration(app, 'errors')
  const problems: Problem[] = []
  const typeBase = checkErrors(options, problems).typeBase ?? null
  assertNoProblems(problems)

  app.setErrorHandler(function sendProblem (error: FastifyError, request, reply) {
    const problem = renderProblem(withReplyStatus(error, reply), request.id, typeBase)
    logRefusal(request, error, problem.status, problem.code)
    return reply.code(problem.status).headers(problem.headers).header('content-type', PROBLEM_MEDIA_TYPE).send(problem.body)
  })
  addSection(app, defineSection<never, null>({
    key: 'errors',
    resolve (_base, _input, where, found) {
      found.push({ path: where, message: 'Errors have no policy of their own on a route or a scope.', mend: 'Remove the key; set an error handler in the scope (setErrorHandler) where answers must differ.' })
      return null
    },
    compile: (_policy, route) => route === null ? [{ hook: 'onRequest', phase: 'not-found', run: refuseUnknown }] : [],
  }), null)
  /** Before the body is read: nobody should make the server parse what no route wants. A scope's own 404 handler is left alone. */
  function refuseUnknown (request: FastifyRequest): Verdict {
    return request.is404 && request.server === app ? new SecurityError('NOT_FOUND') : undefined
  }
  app.setNotFoundHandler(function sendNotFound (request, reply) {
    const problem = renderProblem(new SecurityError('NOT_FOUND'), request.id, typeBase)
    return reply.code(404).header('content-type', PROBLEM_MEDIA_TYPE).send(problem.body)
  })
}

/** A handler may set the status and throw a plain error: the status it chose stands. */
function withReplyStatus (error: unknown, reply: FastifyReply): unknown {
  const claims = typeof error === 'object' && error !== null && ('statusCode' in error || 'status' in error)
  return claims || reply.statusCode < 400 || reply.statusCode === 500 ? error : { statusCode: reply.statusCode }
}

function logRefusal (request: FastifyRequest, error: unknown, status: number, code: string): void {
  if (status >= 500) request.log.error({ err: error, code }, 'request failed')
  else request.log.info({ code, status }, 'request refused')
}

export const errors = fp(errorsPlugin, { name: 'bulwark-errors', fastify: '5.x' })
export default errors

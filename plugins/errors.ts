/**
 * Every error leaves as an RFC 9457 problem document with a stable code and the request id; a 5xx tells nothing of its
 * cause, which stands in the log under the same id. An app's own error handler in a scope takes precedence there.
 */
import { Type, type Static } from '@sinclair/typebox'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { refusal } from '../lib/response/errors.js'
import { isRootInstance } from '../lib/policy/instance.js'
import { addSection } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import { defineSection, type Verdict } from '../lib/policy/section.js'
import { answerDirectly, claimedStatus, libraryCodes, PROBLEM_MEDIA_TYPE,
  renderProblem } from '../lib/response/problem.js'

export const ErrorsOptionsSchema = Type.Object({
  typeBase: Type.Optional(
    Type.String({
      pattern: '^https?://',
      description:
        'Write the address that a code is appended to in `type`, for example ' +
        'https://docs.example.com/errors#. Default: about:blank.',
    }),
  ),
}, { additionalProperties: false })

/** Options of the errors plugin. */
export type ErrorsOptions = Static<typeof ErrorsOptionsSchema>

function installErrors (app: FastifyInstance, { typeBase }: ResolvedErrorsPolicy): void {
  if (hasOwnHandler(app)) {
    app.log.warn(
      'the instance has an error handler already: it stays, and answers the refusals of the suite too; ' +
        'set it in a scope to have them as problem documents',
    )
  } else {
    app.setErrorHandler(sendProblem)
  }

  function sendProblem (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const problem = renderProblem(withReplyStatus(error, reply), request.id, typeBase)
    logRefusal(request, error, problem.status, problem.code)
    const send = reply.send.bind(reply)
    // From here on only a failure sends again: an onSend hook that threw, a header that Node refuses. Fastify's own
    // handler, which is next in line, would tell the client what that failure says.
    reply.send = function sendInstead (failure?: unknown) {
      if (reply.sent) return send(failure)
      const last = renderProblem(null, request.id, typeBase)
      logRefusal(request, failure, last.status, last.code)
      answerDirectly(reply, failure, last)
      return reply
    }
    reply.code(problem.status).headers(problem.headers).header('content-type', PROBLEM_MEDIA_TYPE)
    return send(problem.body)
  }
  addSection(
    app,
    defineSection<never, null>({
      key: 'errors',
      resolve (_base, _input, where, found) {
        found.push({
          path: where,
          message: 'Errors have no policy of their own on a route or a scope.',
          fix: 'Remove the key; set an error handler in the scope (setErrorHandler) where answers must differ.',
        })
        return null
      },
      compile: (_policy, route) =>
        route === null ? [{ hook: 'onRequest', phase: 'not-found', run: refuseUnknown }] : [],
    }),
    null,
  )
  /**
   * Before the body is read: the server does not parse what no route takes. A scope's own 404 handler is left alone.
   */
  function refuseUnknown (request: FastifyRequest): Verdict {
    return request.is404 && request.server === app ? refusal('NOT_FOUND') : undefined
  }
  app.setNotFoundHandler(function sendNotFound (request, reply) {
    const problem = renderProblem(refusal('NOT_FOUND'), request.id, typeBase)
    return reply.code(404).header('content-type', PROBLEM_MEDIA_TYPE).send(problem.body)
  })
}

/** A handler that the app set on this very instance before; what a parent scope has is not meant for here. */
function hasOwnHandler (app: FastifyInstance): boolean {
  return isRootInstance(app) && app.errorHandler.name !== 'defaultErrorHandler'
}

/** A handler may set the status and throw a plain error: the status it chose stands. */
function withReplyStatus (error: unknown, reply: FastifyReply): unknown {
  return reply.statusCode < 400 || reply.statusCode === 500 || claimedStatus(error) !== null
    ? error
    : { statusCode: reply.statusCode }
}

/** A refusal's own words may repeat what the client sent, so of a 4xx only codes are logged. */
function logRefusal (request: FastifyRequest, error: unknown, status: number, code: string): void {
  if (status < 500) {
    const causes = libraryCodes(error)
    request.log.info({ code, status, ...(causes.length > 0 && { causes }) }, 'request refused')
    return
  }
  try {
    request.log.error({ err: error, code }, 'request failed')
  } catch {
    // A serializer reads the error, and its getters may throw.
    request.log.error({ code, causes: libraryCodes(error) }, 'request failed, with an error that cannot be logged')
  }
}

/** Complete and frozen. */
export interface ResolvedErrorsPolicy { readonly typeBase: string | null }

export const errors = defineSecurityPlugin<typeof ErrorsOptionsSchema, ResolvedErrorsPolicy>({
  key: 'errors',
  options: ErrorsOptionsSchema,
  resolve: ({ typeBase = null }) => Object.freeze({ typeBase }),
  install: installErrors,
})
export default errors

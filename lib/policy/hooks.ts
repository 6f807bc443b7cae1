import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { SecurityError } from '../response/errors.js'
import type { HandlerTimeouts } from '../response/handler-timeouts.js'
import { finishWith } from '../response/response.js'
import { carryHeadersOnHijack } from './hijack.js'
import { kCompiled, type OptionalHook } from './pipeline.js'
import { ANSWERED, type Step, type Verdict } from './section.js'
import { findScope } from './scope.js'

/**
 * The hooks that run the compiled steps of each request. Hooks of the instance, because those also see what no hook of
 * a route sees: unknown paths, and routes that were declared before the suite was loaded.
 *
 * @param handlerTimeouts ends handlers that do not answer, in the whole server
 */
export function addPipelineHooks (app: FastifyInstance, handlerTimeouts: HandlerTimeouts | null): void {
  app.decorateRequest(kCompiled, null)
  app.addHook('onRequest', bulwarkOnRequest)
  app.addHook('onSend', bulwarkOnSend)
  carryHeadersOnHijack(app, answerEarly)

  function bulwarkOnRequest (
    this: FastifyInstance,
    request: FastifyRequest,
    reply: FastifyReply,
    done: (error?: Error) => void,
  ): void {
    const { config, handlerTimeout, url } = request.routeOptions
    // A route that names its own time is left to Fastify.
    if (handlerTimeout === 0) handlerTimeouts?.watch(reply)
    const scope = findScope(this)
    if (scope === null) {
      done()
      return
    }
    const policy = config.security
    const compiled = request.is404
      ? scope.compiledBase
      : policy === undefined ? undefined : scope.root.compiled.get(policy)
    if (compiled === undefined) {
      // The boot refuses such routes where it can tell whose they are. What the route wrote is not known, so it is not
      // served.
      done(new SecurityError('INTERNAL_ERROR', {
        cause: new Error(`the route ${url ?? ''} was declared before the suite was loaded, so its policy is not known`),
      }))
      return
    }
    request[kCompiled] = compiled
    finishWith(reply, compiled.writeHead)
    runUntilRefused(compiled.onRequest, 0, request, reply, done)
  }
}

/** Fastify gives a hook that is added later to the routes and scopes that exist already, too. */
export function addOptionalHook (app: FastifyInstance, hook: OptionalHook): void {
  app.addHook(hook, bulwarkPreValidation)
}

function bulwarkPreValidation (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
  runUntilRefused(request[kCompiled]?.preValidation ?? NO_STEPS, 0, request, reply, done)
}

function bulwarkOnSend (
  request: FastifyRequest,
  reply: FastifyReply,
  _payload: unknown,
  done: () => void,
): void {
  answerEarly(reply)
  runAll(request[kCompiled]?.onSend ?? NO_STEPS, 0, request, reply, done)
}

/** An app's hook that ran before the suite's may answer or hijack: that answer gets the headers of the scope. */
function answerEarly (reply: FastifyReply): void {
  const { request, server } = reply
  if ((request[kCompiled] ?? null) !== null) return
  const base = findScope(server)?.compiledBase
  if (base === undefined) return
  request[kCompiled] = base
  finishWith(reply, base.writeHead)
  for (const step of base.headers) void settled(step, request, reply)
}

const NO_STEPS: readonly Step[] = Object.freeze([])

/** Runs the steps in order; the first refusal or answer ends it. Stays synchronous until a step returns a promise. */
function runUntilRefused (
  steps: readonly Step[],
  from: number,
  request: FastifyRequest,
  reply: FastifyReply,
  done: (error?: Error) => void,
): void {
  for (let index = from; index < steps.length; index++) {
    let verdict: Verdict | Promise<Verdict>
    try {
      verdict = (steps[index] as Step)(request, reply)
    } catch (error) {
      done(error as Error)
      return
    }
    if (verdict === undefined) continue
    if (verdict === ANSWERED) return
    if (verdict instanceof Error) {
      done(verdict)
      return
    }
    verdict.then((late) => {
      if (late === undefined) runUntilRefused(steps, index + 1, request, reply, done)
      else if (late !== ANSWERED) done(late)
    }, done)
    return
  }
  done()
}

/** Runs every step, also after one that failed: the answer is decided, and the others must not be lost. */
function runAll (
  steps: readonly Step[],
  from: number,
  request: FastifyRequest,
  reply: FastifyReply,
  done: () => void,
): void {
  for (let index = from; index < steps.length; index++) {
    const pending = settled(steps[index] as Step, request, reply)
    if (pending !== undefined) {
      void pending.then(() => { runAll(steps, index + 1, request, reply, done) })
      return
    }
  }
  done()
}

function settled (step: Step, request: FastifyRequest, reply: FastifyReply): Promise<void> | undefined {
  try {
    const verdict = step(request, reply)
    return verdict instanceof Promise
      ? verdict.then(() => {}, (error: unknown) => {
        logFailure(request, error)
      })
      : undefined
  } catch (error) {
    logFailure(request, error)
    return undefined
  }
}

function logFailure (request: FastifyRequest, error: unknown): void {
  request.log.error({ err: error }, 'a security step failed after the answer was decided')
}

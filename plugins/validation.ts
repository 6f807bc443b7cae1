/**
 * Strict validation of what comes in: bodies are closed and never coerced, unknown query keys are refused, and a
 * refusal names every field at once for small inputs and one field for large ones. Responses are serialized as before.
 */
import type { Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest, preSerializationHookHandler,
  RouteOptions } from 'fastify'
import { assertNoProblems, refusal, type Problem } from '../lib/response/errors.js'
import { checkOptions } from '../lib/options/check-options.js'
import { addSection, policyOf, securityOf } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { SecurityScope } from '../lib/policy/scope.js'
import { defineSection } from '../lib/policy/section.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { createValidatorFactory, type ValidationLimits } from '../lib/validation/compiler.js'
import { hasSchemaByType, markSchemas, mediaTypeProblems, mediaTypesOf } from '../lib/validation/media-types.js'
import { compilerProblems, resolveValidationPolicy, UnknownSchema, type ResolvedValidationPolicy,
  type ValidationRouteOptions } from '../lib/validation/policy.js'
import { takeRejection } from '../lib/validation/rejections.js'
import { checkSanitizedRoutes } from '../lib/validation/sanitize-check.js'
import { declaredStatuses } from '../lib/validation/statuses.js'
import { Type } from '../lib/validation/type.js'

export { Type }
export type { ValidationRouteOptions }
export type { Static } from '@sinclair/typebox'
export type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
export type { FieldError } from '../lib/validation/messages.js'

export const ValidationOptionsSchema = Type.Object({
  maxErrors: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 100,
      description: 'How many findings a refusal lists, 1 to 100. Default: 20.',
    }),
  ),
  allErrorsUpTo: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 1_048_576,
      description:
        'Up to how many bytes of JSON all findings are collected, 0 to 1048576; beyond it only the first. Default: 16384.',
    }),
  ),
  unknown: Type.Optional(UnknownSchema),
}, { additionalProperties: false })

/** Options of the validation plugin. */
export type ValidationOptions = Static<typeof ValidationOptionsSchema>

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** What this route does with unknown keys, and which media types it takes. */
    validation?: ValidationRouteOptions
  }
  interface ResolvedRouteSecurity { readonly validation?: ResolvedValidationPolicy }
}

/** Complete and frozen. */
export interface ResolvedValidationOptions extends ValidationLimits { readonly unknown: 'reject' | 'strip' }

const DEFAULTS: ResolvedValidationOptions = Object.freeze({ maxErrors: 20, allErrorsUpTo: 16_384, unknown: 'reject' })

type ValidatorFactory = NonNullable<
  NonNullable<Parameters<FastifyInstance['setSchemaController']>[0]['compilersFactory']>['buildValidator']
>

function installValidation (app: FastifyInstance, limits: ResolvedValidationOptions, { root }: SecurityScope): void {
  const problems: Problem[] = []
  // Fastify would go on using it, and this plugin would do nothing.
  if (app.validatorCompiler !== undefined) {
    problems.push({
      path: 'validation',
      message: 'The instance has a validator compiler already.',
      fix: 'Remove setValidatorCompiler, or register this plugin before the scope that needs another compiler.',
    })
  }
  assertNoProblems(problems)

  const base: ResolvedValidationPolicy = Object.freeze({ unknown: limits.unknown, contentTypes: null })
  addSection(
    app,
    defineSection<ValidationRouteOptions, ResolvedValidationPolicy>({
      key: 'validation',
      resolve: resolveValidationPolicy,
      compile: () => [],
    }),
    base,
  )
  /** Fastify tells its compiler nothing of the route but these schemas. */
  const policies = new WeakMap<object, () => ResolvedValidationPolicy>()
  const compiled = new WeakSet<object>()
  /** Routes that say something of their own, until it is known whose compiler they got. */
  const judged: { readonly route: RouteOptions, readonly schemas: readonly object[] }[] = []

  /** Null once the server listens: what `request.validateInput` brings then is compiled when it is needed. */
  let pending: (() => void)[] | null = []

  // Fastify types this as the factory of @fastify/ajv-compiler; what it calls is the compiler function of its docs.
  const buildValidator = createValidatorFactory(limits, {
    unknownOf (schema) {
      if (typeof schema !== 'object' || schema === null) return 'reject'
      compiled.add(schema)
      return policies.get(schema)?.().unknown ?? 'reject'
    },
    report: (problem) => { root.problems.push(problem) },
    later: (work) => { pending?.push(work) },
  }) as unknown as ValidatorFactory
  app.setSchemaController({ compilersFactory: { buildValidator } })
  app.addHook('onRoute', guardRoute)
  root.readyChecks.push((found) => {
    // A scope may set a compiler after the route was declared.
    for (const { route, schemas } of judged.splice(0))
      {if (!schemas.some((schema) => compiled.has(schema)))
        {found.push(...compilerProblems(route, route.security?.validation))}}
  })
  checkSanitizedRoutes(app)
  app.addHook('onListen', function compileRest (done) {
    inTurns(pending ?? [])
    pending = null
    done()
  })
  app.addHook('onError', function reportRejection (request, _reply, error, done) {
    report(app, request, error)
    done()
  })

  function guardRoute (this: FastifyInstance, route: RouteOptions): void {
    // A plugin or an override that is loaded later may change it.
    const policyNow = (): ResolvedValidationPolicy =>
      policyOf(this, 'validation', route.security) as ResolvedValidationPolicy
    const policy = policyNow()
    root.problems.push(...mediaTypeProblems(route, route.security?.validation?.contentTypes))
    const own = route.security?.validation
    const hasOwnCompiler = (route.validatorCompiler ?? this.validatorCompiler) !== undefined
    if (hasOwnCompiler) root.problems.push(...compilerProblems(route, own))
    const schemas: object[] = []
    if (route.schema !== undefined) {
      route.schema = markSchemas(route.schema, (copy) => {
        policies.set(copy, policyNow)
        schemas.push(copy)
      })
    }
    if (!hasOwnCompiler && own !== undefined && schemas.length > 0) judged.push({ route, schemas })
    const types = mediaTypesOf(route, policy, root.strict)
    if (types !== null)
      {route.preValidation = [refuseOtherTypes(types, !hasSchemaByType(route.schema)), ...listOf(route.preValidation)]}
    const isDeclared = root.strict ? declaredStatuses(route.schema?.response) : null
    if (isDeclared !== null) route.preSerialization = [...listOf(route.preSerialization), refuseUndeclared(isDeclared)]
    if (route.attachValidation === true) route.preHandler = [reportAttached, ...listOf(route.preHandler)]
  }

  /** With `attachValidation` the handler decides what to answer, so no error reaches `onError`. */
  function reportAttached (request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
    report(app, request, request.validationError)
    done()
  }
}

function report (app: FastifyInstance, request: FastifyRequest, error: unknown): void {
  const rejection = takeRejection(error)
  if (rejection !== null) securityOf(app).root.emit({ name: 'input_validation_fail', ...rejection }, request)
}

/**
 * Fastify validates nothing when the media type is not among those of the schema, and any that it can parse when it is
 * one for all.
 */
function refuseOtherTypes (
  types: ReadonlySet<string>,
  mayBeMissing: boolean,
): (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void {
  return function refuseOtherType (request, _reply, done) {
    // Without a body there is no type; whether it may be missing is for the schema to say, if one is found without a
    // type.
    const isMissing = mayBeMissing && request.body === undefined && request.headers['content-type'] === undefined
    done(isMissing || types.has(request.mediaType ?? '') ? undefined : refusal('MEDIA_TYPE_NOT_SUPPORTED'))
  }
}

/** One a turn of the event loop, so that requests come in between. */
function inTurns (works: readonly (() => void)[], at = 0): void {
  if (at === works.length) return
  setImmediate(() => {
    works[at]?.()
    inTurns(works, at + 1)
  }).unref()
}

/** Fastify sends an object of another status whole, with whatever the schemas would have dropped. */
function refuseUndeclared (isDeclared: (status: number) => boolean): preSerializationHookHandler {
  return function refuseUndeclaredStatus (_request, { statusCode }, payload, done) {
    if (payload === null || isDeclared(statusCode)) done(null, payload)
    else done(new Error(`the route answered ${statusCode}, for which it has no response schema: add one, or '2xx'`))
  }
}

function listOf<T> (hooks: T | T[] | undefined): T[] {
  return hooks === undefined ? [] : Array.isArray(hooks) ? hooks : [hooks]
}

export const validation = defineSecurityPlugin<typeof ValidationOptionsSchema, ResolvedValidationOptions>({
  key: 'validation',
  options: ValidationOptionsSchema,
  resolve: (options) => Object.freeze({ ...DEFAULTS, ...options }),
  install: installValidation,
})
export default validation

/**
 * Strict validation of what comes in: bodies are closed and never coerced, unknown query keys are refused, and a
 * refusal names every field at once for small inputs and one field for large ones. Responses are serialized as before.
 */
import type { Static } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest, preSerializationHookHandler,
  RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'
import { checkOptions, isPlainObject } from '../lib/options/check-options.js'
import { addSection, claimRegistration, securityOf } from '../lib/policy/install.js'
import { defineSection } from '../lib/policy/section.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { createValidatorFactory, type ValidationLimits } from '../lib/validation/compiler.js'
import { mediaTypeProblems, refuseOtherTypes } from '../lib/validation/media-types.js'
import { compilerProblems, resolveValidationPolicy, UnknownSchema, type ResolvedValidationPolicy,
  type ValidationRouteOptions } from '../lib/validation/policy.js'
import { takeRejection } from '../lib/validation/rejections.js'
import { RouteSchemas, schemasOf } from '../lib/validation/route-schemas.js'
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

/** Reports what is wrong with the options. */
export function checkValidation (options: unknown, problems: Problem[]): void {
  resolveValidationOptions(options, problems)
}

/** Resolves untrusted options; the result is complete and frozen. */
export function resolveValidationOptions (options: unknown, problems: Problem[]): ResolvedValidationOptions {
  return Object.freeze({ ...DEFAULTS, ...checkOptions(ValidationOptionsSchema, options, 'validation', problems) })
}

const validationPlugin: FastifyPluginAsync<ValidationOptions> = async (app, options) => {
  claimRegistration(app, 'validation')
  const problems: Problem[] = []
  const limits = resolveValidationOptions(options, problems)
  // Fastify would go on using it, and this plugin would do nothing.
  if (app.validatorCompiler !== undefined) {
    problems.push({
      path: 'validation',
      message: 'The instance has a validator compiler already.',
      fix: 'Remove setValidatorCompiler, or register this plugin before the scope that needs another compiler.',
    })
  }
  assertNoProblems(problems)

  const { root } = securityOf(app)
  const routes = new RouteSchemas()
  const report = (problem: Problem): void => { root.problems.push(problem) }
  // Fastify types this as the factory of @fastify/ajv-compiler; what it calls is the compiler function of its docs.
  const buildValidator = createValidatorFactory(limits, {
    unknownOf: (part) => routes.unknownOf(part, report),
    report,
  }) as unknown as ValidatorFactory
  app.setSchemaController({ compilersFactory: { buildValidator } })

  const section = defineSection<ValidationRouteOptions, ResolvedValidationPolicy>({
    key: 'validation',
    hooks: ['preValidation'],
    resolve: resolveValidationPolicy,
    compile (policy, route) {
      if (route === null) return []
      routes.add(route, policy)
      const run = refuseOtherTypes(route, policy, root.strict)
      return run === null ? [] : [{ hook: 'preValidation', phase: 'media-type', run }]
    },
  })
  addSection(app, section, Object.freeze({ unknown: limits.unknown, contentTypes: null }))
  root.readyChecks.push(function reportIdleRules (found) {
    for (const { info, scope, input } of root.routes) {
      if (scope.sections.get('validation')?.section !== section) continue
      const own: unknown = isPlainObject(input) ? input['validation'] : undefined
      found.push(...mediaTypeProblems(info, isPlainObject(own) ? own['contentTypes'] : undefined))
      if (schemasOf(info).length > 0 && !routes.isCompiled(info)) found.push(...compilerProblems(info.label, own))
    }
  })
  checkSanitizedRoutes(app)
  app.addHook('onRoute', refuseUndeclaredStatuses)
  app.addHook('preHandler', function reportAttached (request, _reply, done) {
    // With `attachValidation` the handler decides what to answer, so no error reaches `onError`.
    reportRejection(request, request.validationError)
    done()
  })
  app.addHook('onError', function reportRefused (request, _reply, error, done) {
    reportRejection(request, error)
    done()
  })

  function reportRejection (request: FastifyRequest, error: unknown): void {
    const rejection = takeRejection(error)
    if (rejection !== null) root.emit({ name: 'input_validation_fail', ...rejection }, request)
  }

  /** A hook of the route, because a step of the pipeline would run before hooks that still set the status. */
  function refuseUndeclaredStatuses (route: RouteOptions): void {
    const isDeclared = root.strict ? declaredStatuses(route.schema?.response) : null
    if (isDeclared !== null) route.preSerialization = [route.preSerialization ?? [], refuseUndeclared(isDeclared)].flat()
  }
}

/** Fastify sends an object of another status whole, with what the schemas would have dropped. */
function refuseUndeclared (isDeclared: (status: number) => boolean): preSerializationHookHandler {
  return function refuseUndeclaredStatus (_request, { statusCode }, payload, done) {
    if (payload === null || isDeclared(statusCode)) done(null, payload)
    else done(new Error(`the route answered ${statusCode}, for which it has no response schema: add one, or '2xx'`))
  }
}

export const validation = fp(validationPlugin, { name: 'bulwark-validation', fastify: '5.x' })
export default validation

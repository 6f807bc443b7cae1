/**
 * Strict validation of what comes in: bodies are closed and never coerced, unknown query keys are refused, and a
 * refusal names every field at once for small inputs and one field for large ones. Responses are serialized as before.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, preSerializationHookHandler, RouteOptions } from 'fastify'
import { isPlainObject } from '../lib/options/check-options.js'
import { addSection, policyOf, securityOf } from '../lib/policy/install.js'
import { defineSecurityPlugin } from '../lib/policy/plugin.js'
import type { RouteRecord, SecurityScope } from '../lib/policy/scope.js'
import { defineSection } from '../lib/policy/section.js'
import type { SecurityShape } from '../lib/policy/types.js'
import { assertNoProblems, type Problem } from '../lib/response/errors.js'
import { createValidatorFactory, type PartRequest } from '../lib/validation/compiler.js'
import { mediaTypeProblems, refuseOtherTypes } from '../lib/validation/media-types.js'
import { ValidationOptionsSchema, type ResolvedValidationOptions, type ResolvedValidationPolicy,
  type ValidationRouteOptions } from '../lib/validation/options.js'
import { takeRejection } from '../lib/validation/rejections.js'
import { compilerProblems, resolveValidationOptions, resolveValidationPolicy } from '../lib/validation/resolve.js'
import { routesOf, schemasOf } from '../lib/validation/route-schemas.js'
import { checkRoute } from '../lib/validation/sanitize-check.js'
import { declaredStatuses } from '../lib/validation/statuses.js'
import { Type } from '../lib/validation/type.js'

export { Type }
export { ValidationOptionsSchema }
export type { ValidationOptions, ValidationRouteOptions } from '../lib/validation/options.js'
export type { Static } from '@sinclair/typebox'
export type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
export type { FieldError } from '../lib/validation/messages.js'

declare module '../lib/policy/types.js' {
  interface RouteSecurityOptions<S extends SecurityShape> {
    /** What this route does with unknown keys, and which media types it takes. */
    validation?: ValidationRouteOptions
  }
  interface ResolvedRouteSecurity { readonly validation?: ResolvedValidationPolicy }
}

type ValidatorFactory = NonNullable<
  NonNullable<Parameters<FastifyInstance['setSchemaController']>[0]['compilersFactory']>['buildValidator']
>

function installValidation (app: FastifyInstance, options: ResolvedValidationOptions, { root }: SecurityScope): void {
  // Fastify would go on using it, and this plugin would do nothing.
  if (app.validatorCompiler !== undefined) {
    assertNoProblems([{
      path: 'validation',
      message: 'The instance has a validator compiler already.',
      fix: 'Remove setValidatorCompiler, or register this plugin before the scope that needs another compiler.',
    }])
  }
  const section = defineSection<ValidationRouteOptions, ResolvedValidationPolicy>({
    key: 'validation',
    hooks: ['preValidation'],
    resolve: resolveValidationPolicy,
    compile (policy, route) {
      const run = route === null ? null : refuseOtherTypes(route, policy, root.strict)
      return run === null ? [] : [{ hook: 'preValidation', phase: 'media-type', run }]
    },
  })
  addSection(app, section, Object.freeze({ unknown: options.unknown, contentTypes: null }))

  const compiled = new WeakSet<RouteRecord>()
  const report = (problem: Problem): void => { root.problems.push(problem) }
  // Fastify types this as the factory of @fastify/ajv-compiler; what it calls is the compiler function of its docs.
  const buildValidator = createValidatorFactory(options, { unknownOf, report }) as unknown as ValidatorFactory
  // A scope that was opened before this plugin was loaded has a schema controller of its own.
  const earlier = root.routes.map(({ instance }) => instance).filter(isOurs)
  for (const instance of new Set([app, ...earlier])) {
    instance.setSchemaController({ compilersFactory: { buildValidator } })
  }
  root.readyChecks.push(checkRoutes)
  app.addHook('onRoute', addRouteHooks)
  app.addHook('onError', function reportRefused (request, _reply, error, done) {
    reportRejection(request, error)
    done()
  })

  /** Fastify compiles the schemas when every plugin is loaded, so the policies are final. */
  function unknownOf (part: PartRequest): 'reject' | 'strip' {
    const routes = routesOf(part, root.routes)
    for (const route of routes) compiled.add(route)
    const found = new Set(routes.map(({ instance, input }) =>
      (policyOf(instance, 'validation', input) as ResolvedValidationPolicy).unknown
    ))
    if (found.size > 1) {
      report({
        path: `${routes[0]?.info.label ?? ''} security.validation.unknown`,
        message: 'Two routes of this method and URL share a schema object, and differ in `unknown`.',
        fix: 'Give each of them a schema object of its own.',
      })
    }
    return found.size === 1 && found.has('strip') ? 'strip' : 'reject'
  }

  /** Whether this plugin, and not one of a child scope, holds on the routes of the instance. */
  function isOurs (instance: FastifyInstance): boolean {
    return securityOf(instance).sections.get('validation')?.section === section
  }

  function checkRoutes (problems: Problem[]): void {
    for (const route of root.routes) {
      const { info, instance, input } = route
      if (!isOurs(instance)) continue
      const own: unknown = isPlainObject(input) ? input['validation'] : undefined
      problems.push(...mediaTypeProblems(info, isPlainObject(own) ? own['contentTypes'] : undefined))
      if (schemasOf(info).length > 0 && !compiled.has(route)) problems.push(...compilerProblems(info.label, own))
      checkRoute(info.label, info.schema, instance.getSchemas(), problems)
    }
  }

  function reportAttached (request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
    reportRejection(request, request.validationError)
    done()
  }

  function reportRejection (request: FastifyRequest, error: unknown): void {
    const rejection = takeRejection(error)
    if (rejection !== null) root.emit({ name: 'input_validation_fail', ...rejection }, request)
  }

  /** A hook of the route, because a step of the pipeline would run before hooks that still set the status. */
  function addRouteHooks (route: RouteOptions): void {
    // With `attachValidation` the handler decides what to answer, so no error reaches `onError`.
    if (route.attachValidation === true) route.preHandler = [reportAttached, route.preHandler ?? []].flat()
    const isDeclared = root.strict ? declaredStatuses(route.schema?.response) : null
    if (isDeclared === null) return
    route.preSerialization = [route.preSerialization ?? [], refuseUndeclared(isDeclared)].flat()
  }
}

/** Fastify sends an object of another status whole, with what the schemas would have dropped. */
function refuseUndeclared (isDeclared: (status: number) => boolean): preSerializationHookHandler {
  return function refuseUndeclaredStatus (_request, { statusCode }, payload, done) {
    if (payload === null || isDeclared(statusCode)) done(null, payload)
    else done(new Error(`the route answered ${statusCode}, for which it has no response schema: add one, or '2xx'`))
  }
}

export const validation = defineSecurityPlugin<typeof ValidationOptionsSchema, ResolvedValidationOptions>({
  key: 'validation',
  options: ValidationOptionsSchema,
  resolve: resolveValidationOptions,
  install: installValidation,
})
export default validation

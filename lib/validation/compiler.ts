import type { Ajv, ValidateFunction } from 'ajv'
import type { Problem, SecurityError } from '../response/errors.js'
import { inspectSchema, withoutQuadratic } from './check-schema.js'
import { closedCopy, targetCopy } from './closed.js'
import { assertServerOptions, createAjv, hasOwnFormats, type OwnAjvOptions,
  type ServerAjvOptions } from './create-ajv.js'
import { guardedCopy } from './guarded.js'
import type { Finding } from './messages.js'
import { reject } from './rejections.js'
import { cleaning } from './sanitize-keyword.js'
import { sizeUpTo } from './size.js'
import { createStripper } from './strip.js'

export interface ValidationLimits {
  /** An answer lists at most this many findings. */
  readonly maxErrors: number
  /** Up to this size, in bytes of JSON, all findings are collected; beyond it, only the first. */
  readonly allErrorsUpTo: number
}

/** What Fastify asks its compiler for; without `httpPart` it is `request.validateInput`. */
export interface PartRequest {
  readonly schema: unknown
  readonly method?: string | readonly string[]
  readonly url?: string
  readonly httpPart?: string | null
}

/** What the compiler asks of the plugin and tells it. */
export interface CompilerHooks {
  /** What the route of this part does with keys that the schema does not name. */
  readonly unknownOf: (part: PartRequest) => 'reject' | 'strip'
  /** Called at boot for each schema that must not be served with. */
  readonly report: (problem: Problem) => void
}

const THROWING: CompilerHooks = {
  unknownOf: () => 'reject',
  report ({ path, message, fix }) { throw new TypeError(`${path}: ${message} ${fix}`) },
}

/**
 * What Fastify calls. It returns a plain boolean also for `request.validateInput`, whose callers test it for truth;
 * Fastify itself answers `false` with `errors`, and throws it as it is because it is an Error.
 */
export interface PartValidator {
  (data: unknown): boolean
  errors: SecurityError | null
}

export type PartCompiler = (part: PartRequest) => PartValidator
export type ExternalSchemas = Readonly<Record<string, unknown>>

/**
 * A validator factory for Fastify's schema controller. Bodies: closed, without coercion. Query strings: closed, their
 * text coerced. Path parameters and headers: coerced, and open.
 * @throws TypeError at boot for an `ajv` option or a schema that would weaken this.
 */
export function createValidatorFactory (
  limits: ValidationLimits,
  hooks: CompilerHooks = THROWING,
): (external: ExternalSchemas, server?: ServerAjvOptions) => PartCompiler {
  // Fastify asks anew for each scope; scopes with the same added schemas share what is made for them.
  const compilers = new WeakMap<ServerAjvOptions, Map<string, PartCompiler>>()
  return function buildValidator (external, server = {}) {
    assertServerOptions(server)
    const known = compilers.get(server) ?? new Map<string, PartCompiler>()
    compilers.set(server, known)
    const key = JSON.stringify(external)
    const compiler = known.get(key) ?? createCompiler(external, server, limits, hooks)
    known.set(key, compiler)
    return compiler
  }
}

function createCompiler (
  external: ExternalSchemas,
  server: ServerAjvOptions,
  limits: ValidationLimits,
  hooks: CompilerHooks,
): PartCompiler {
  const ownFormats = hasOwnFormats(server)
  const targets = (isClosed: boolean, isCoerced: boolean): readonly unknown[] =>
    Object.values(external).map((schema) =>
      guardedCopy(isClosed ? targetCopy(schema) : schema, { ownFormats, rest: true, coerced: isCoerced }, 'part')
    )
  const passes = (isClosed: boolean, isCoerced: boolean): () => Passes =>
    lazy(() => {
      const create = (allErrors: boolean): Ajv =>
        createAjv(server, { ...coercion(isCoerced), allErrors }, targets(isClosed, isCoerced))
      return { first: create(false), all: lazy(() => create(true)) }
    })
  const closed = { body: passes(true, false), query: passes(true, true) }
  const open = { body: passes(false, false), query: passes(false, true) }

  return function compilePart (request) {
    const { schema, httpPart, method = '', url = '' } = request
    const part = httpPart === 'querystring' ? 'query' : httpPart ?? 'input'
    const input = byReference(schema, external)
    const isOpen = part === 'params' || part === 'headers'
    const isCoerced = isOpen || part === 'query'
    const text = isCoerced ? 'query' : 'body'
    const used = (isOpen ? open : closed)[text]()
    const problems = inspectSchema(input, `${labelOf(method)} ${url} ${part}`.trim(), external, used.first.formats)
    problems.forEach(hooks.report)
    // Boot fails with them. Until then nothing is accepted, and Ajv is not asked to compile what it may throw on.
    if (problems.length > 0) return refuseAll(part)
    const guarding = { ownFormats, coerced: isCoerced, rest: part !== 'headers' }
    const guarded = guardedCopy(input, guarding)
    if (isOpen) return validatorOf(part, used, guarded, limits)
    const strict = validatorOf(part, used, guardedCopy(closedCopy(input), guarding), limits)
    if (part === 'input' || hooks.unknownOf(request) !== 'strip') return strict
    // Ajv resolves a schema's reference to its own id only where it stands inside another one.
    const fitting = validatorOf(part, open[text](), hasId(guarded) ? { allOf: [guarded] } : guarded, limits)
    const ajv = createAjv(server, { ...coercion(isCoerced), allErrors: false }, targets(false, isCoerced))
    return strippingValidator(strict, fitting, createStripper(ajv, guarded, external))
  }
}

function coercion (isCoerced: boolean): Pick<OwnAjvOptions, 'coerceTypes'> {
  return { coerceTypes: isCoerced ? 'array' : false }
}

function labelOf (method: string | readonly string[]): string {
  return [method].flat().join('|')
}

function refuseAll (part: string): PartValidator {
  const validate: PartValidator = () => {
    validate.errors = reject(part, [], 1)
    return false
  }
  validate.errors = null
  return validate
}

/** What is left after stripping is judged again, closed. */
function strippingValidator (
  strict: PartValidator,
  fitting: PartValidator,
  strip: (value: unknown) => void,
): PartValidator {
  const validate: PartValidator = function validateAndStrip (data) {
    validate.errors = null
    if (strict(data)) return true
    if (!fitting(data)) {
      validate.errors = fitting.errors
      return false
    }
    try {
      strip(data)
    } catch (error) {
      // Too deep for the stack: `strict` refuses what is left.
      if (!(error instanceof RangeError)) throw error
    }
    if (strict(data)) return true
    validate.errors = strict.errors
    return false
  }
  validate.errors = null
  return validate
}

/** A schema that was also added under its id is meant by that id: Ajv refuses two schemas of one id. */
function byReference (schema: unknown, external: ExternalSchemas): unknown {
  const id: unknown = hasId(schema) ? schema.$id : undefined
  return typeof id === 'string' && Object.hasOwn(external, id) ? { $ref: `${id}#` } : schema
}

function hasId (schema: unknown): schema is { readonly $id: unknown } {
  return typeof schema === 'object' && schema !== null && '$id' in schema
}

/**
 * `first` stops at the first finding, so that a hostile body costs little. `all` lists the findings of a small body
 * that was refused; most services never need it for most schemas.
 */
interface Passes { readonly first: Ajv, readonly all: () => Ajv }

function validatorOf (part: string, passes: Passes, schema: unknown, limits: ValidationLimits): PartValidator {
  const first = cleaning(passes.first, compile(passes.first, schema))
  const all = lazy(() => compile(passes.all(), withoutQuadratic(schema)))
  const validate: PartValidator = function validatePart (data) {
    validate.errors = null
    try {
      if (first(data)) return true
      const isSmall = sizeUpTo(data, limits.allErrorsUpTo) <= limits.allErrorsUpTo
      // `all` leaves out what is costly, so it may find nothing.
      const findings = (isSmall && !all()(data) && all().errors) || first.errors
      validate.errors = reject(part, findings ?? [], limits.maxErrors)
    } catch (error) {
      // A recursive schema on a deeply nested body exhausts the stack: the client's fault, so not a 500.
      if (!(error instanceof RangeError)) throw error
      const tooDeep: Finding = { keyword: 'depth', instancePath: '', schemaPath: '', params: {} }
      validate.errors = reject(part, [tooDeep], 1)
    }
    return false
  }
  validate.errors = null
  return validate
}

function compile (ajv: Ajv, schema: unknown): ValidateFunction {
  const validate = ajv.compile(schema as object)
  // Its promise would count as "valid": asynchronous checks belong into a hook, where a store may be asked.
  if ('$async' in validate) {
    throw new TypeError(
      'asynchronous schemas ($async) are not supported: check what needs a store in a preHandler hook',
    )
  }
  return validate
}

function lazy<T> (create: () => T): () => T {
  let made: { readonly value: T } | null = null
  return () => (made ??= { value: create() }).value
}

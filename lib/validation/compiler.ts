import { Ajv, type Format, type Options as AjvOptions, type ValidateFunction } from 'ajv'
import unevaluated from 'ajv/dist/vocabularies/unevaluated/index.js'
import type { Problem, SecurityError } from '../response/errors.js'
import { closedCopy, targetCopy } from './closed.js'
import { addFormats } from './formats.js'
import { guardedCopy, type Guarding } from './guarded.js'
import { inspectSchema, withoutQuadratic } from './check-schema.js'
import { addKeywords } from './keywords.js'
import type { Finding } from './messages.js'
import { reject } from './rejections.js'
import { addSanitize, cleaning } from './sanitize-keyword.js'
import { sizeUpTo } from './size.js'
import { createStripper } from './strip.js'

export interface ValidationLimits {
  /** At most this many findings stand in an answer. */
  readonly maxErrors: number
  /** Up to this size, in bytes of JSON, all findings are collected; beyond it, only the first. */
  readonly allErrorsUpTo: number
}

/** What the compiler asks of, and tells, the plugin. */
export interface CompilerHooks {
  /** What the route that this schema belongs to does with keys that the schema does not know. */
  readonly unknownOf: (schema: unknown) => 'reject' | 'strip'
  /** Called at boot for each schema that must not be served with. */
  readonly report: (problem: Problem) => void
  /**
   * Takes work that no boot should wait for, and no request if it can be helped; it is done at the latest when it is
   * needed.
   */
  readonly later: (work: () => void) => void
}

const THROWING: CompilerHooks = {
  unknownOf: () => 'reject',
  report ({ path, message, fix }) { throw new TypeError(`${path}: ${message} ${fix}`) },
  later () {},
}

/**
 * What Fastify calls. It returns a plain boolean also for `request.validateInput`, whose callers test it for truth;
 * Fastify itself answers `false` with `errors`, and throws it as it is because it is an Error.
 */
export interface PartValidator {
  (data: unknown): boolean
  errors: SecurityError | null
}

export type PartCompiler = (
  route: {
    readonly schema: unknown
    readonly method?: string
    readonly url?: string
    readonly httpPart?: string | null
  },
) => PartValidator

/** The `ajv` option that `fastify()` was given. */
export interface ServerAjvOptions {
  readonly customOptions?: Readonly<Record<string, unknown>>
  readonly plugins?: readonly unknown[]
  readonly onCreate?: (ajv: Ajv) => void
  readonly mode?: string
}

/** Ajv options that decide what is accepted: the suite owns them. */
const OWNED_OPTIONS = ['allErrors', 'coerceTypes', 'removeAdditional', '$data', 'unevaluated', 'addUsedSchema']

/**
 * A validator factory for Fastify's schema controller. Bodies: closed, without coercion. Query strings: closed, their
 * text coerced. Path parameters and headers: coerced, and open.
 * @throws TypeError at boot for an `ajv` option or a schema that would weaken this.
 */
export function createValidatorFactory (
  limits: ValidationLimits,
  hooks: CompilerHooks = THROWING,
): (external: Readonly<Record<string, unknown>>, server?: ServerAjvOptions) => PartCompiler {
  // Fastify asks anew for each scope; scopes with the same added schemas share what is made for them.
  const pools = new WeakMap<ServerAjvOptions, Map<string, PartCompiler>>()
  return function buildValidator (external, server = {}) {
    assertServerOptions(server)
    const pool = pools.get(server) ?? new Map<string, PartCompiler>()
    pools.set(server, pool)
    const key = JSON.stringify(external)
    const known = pool.get(key) ?? createCompiler(external, server)
    pool.set(key, known)
    return known
  }

  function createCompiler (external: Readonly<Record<string, unknown>>, server: ServerAjvOptions): PartCompiler {
    const ownFormats = server.customOptions?.['formats'] === undefined && (server.plugins ?? []).length === 0 &&
      server.onCreate === undefined
    const described: Guarding = { rest: true, ownFormats, coerced: false }
    const originals = Object.values(external)
    const closedTargets = (coercing: boolean): readonly unknown[] =>
      originals.map((schema) => guardedCopy(targetCopy(schema), { ...described, coerced: coercing }, 'part'))
    const openTargets = (coercing: boolean): readonly unknown[] =>
      originals.map((schema) => guardedCopy(schema, { ...described, coerced: coercing }, 'part'))
    const uncoerced: AjvOptions = { coerceTypes: false }
    const coerced: AjvOptions = { coerceTypes: 'array' }
    const pairs = {
      body: lazy(() => createPair(server, uncoerced, closedTargets(false))),
      query: lazy(() => createPair(server, coerced, closedTargets(true))),
      open: lazy(() => createPair(server, coerced, openTargets(true))),
      bodyBeforeStrip: lazy(() => createPair(server, uncoerced, openTargets(false))),
    }
    return function compilePart ({ schema, httpPart, method = '', url = '' }) {
      const part = httpPart === 'querystring' ? 'query' : httpPart ?? 'input'
      const input = byReference(schema, external)
      const where = `${method} ${url} ${part}`.trim()
      const isOpen = part === 'params' || part === 'headers'
      const pair = isOpen ? pairs.open() : part === 'query' ? pairs.query() : pairs.body()
      const problems = inspectSchema(input, where, external, pair.first.formats)
      problems.forEach(hooks.report)
      // Boot fails with them; until then nothing is let through, and Ajv is not asked to compile what it may throw on.
      if (problems.length > 0) return refuseAll(part)
      const guarding = { ...described, coerced: isOpen || part === 'query', rest: part !== 'headers' }
      if (isOpen) return validatorOf(part, pair, guardedCopy(input, guarding), limits, hooks)
      const strict = validatorOf(part, pair, guardedCopy(closedCopy(input), guarding), limits, hooks)
      if (part === 'input' || hooks.unknownOf(schema) !== 'strip') return strict
      const own = part === 'query' ? coerced : uncoerced
      const guarded = guardedCopy(input, guarding)
      const open = validatorOf(
        part,
        part === 'query' ? pairs.open() : pairs.bodyBeforeStrip(),
        hasId(guarded) ? { allOf: [guarded] } : guarded,
        limits,
        hooks,
      )
      return strippingValidator(
        strict,
        open,
        createStripper(
          createAjv(server, { ...own, allErrors: false }, openTargets(guarding.coerced)),
          guarded,
          external,
        ),
      )
    }
  }
}

function refuseAll (part: string): PartValidator {
  const validate: PartValidator = () => {
    validate.errors = reject(part, [], 1)
    return false
  }
  validate.errors = null
  return validate
}

/** What fits as it is costs no more than without stripping. What is left after stripping is judged again, closed. */
function strippingValidator (
  strict: PartValidator,
  open: PartValidator,
  strip: (value: unknown) => void,
): PartValidator {
  const validate: PartValidator = function validateAndStrip (data) {
    validate.errors = null
    if (strict(data)) return true
    if (!open(data)) {
      validate.errors = open.errors
      return false
    }
    try {
      strip(data)
    } catch (error) {
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
function byReference (schema: unknown, external: Readonly<Record<string, unknown>>): unknown {
  const id: unknown = typeof schema === 'object' && schema !== null && '$id' in schema ? schema.$id : undefined
  return typeof id === 'string' && Object.hasOwn(external, id) ? { $ref: `${id}#` } : schema
}

/** `first` stops at the first finding, and has judged the schema itself before `all` compiles it. */
interface Pair { readonly first: Ajv, readonly all: () => Ajv }

function createPair (server: ServerAjvOptions, own: AjvOptions, external: readonly unknown[]): Pair {
  return {
    first: createAjv(server, { ...own, allErrors: false }, external),
    all: lazy(() => createAjv(server, { ...own, allErrors: true, validateSchema: false }, external)),
  }
}

function createAjv (server: ServerAjvOptions, own: AjvOptions, external: readonly unknown[]): Ajv {
  const ajv = new Ajv({
    useDefaults: true,
    // Closing adds keywords for objects beside `$ref` and `allOf`, which have no type of their own.
    strictTypes: false,
    ...server.customOptions,
    ...own,
    removeAdditional: false,
    addUsedSchema: false,
    unevaluated: true,
  })
  ajv.addVocabulary(unevaluated.default)
  addSanitize(ajv)
  addKeywords(ajv, own.allErrors === true)
  addFormats(ajv)
  // The service's own formats stand above ours.
  for (const [name, format] of Object.entries(server.customOptions?.['formats'] ?? {}))
    {ajv.addFormat(name, format as Format)}
  for (const entry of server.plugins ?? []) {
    const [plugin, options] = (Array.isArray(entry) ? entry : [entry]) as [
      (ajv: Ajv, options?: unknown) => unknown,
      unknown?,
    ]
    plugin(ajv, options)
  }
  server.onCreate?.(ajv)
  for (const schema of external) ajv.addSchema(schema as object)
  return ajv
}

function validatorOf (
  part: string,
  pair: Pair,
  schema: unknown,
  limits: ValidationLimits,
  { later }: CompilerHooks,
): PartValidator {
  const first = cleaning(pair.first, compile(pair.first, schema))
  // Only a refusal needs it, and a service with hundreds of routes would take half as long again to start.
  const all = lazy(() => compile(pair.all(), withoutQuadratic(schema)))
  later(all)
  const validate: PartValidator = function validatePart (data) {
    validate.errors = null
    try {
      if (first(data)) return true
      const findings = (sizeUpTo(data, limits.allErrorsUpTo) <= limits.allErrorsUpTo && findAll(all(), data)) ||
        first.errors
      validate.errors = reject(part, findings ?? [], limits.maxErrors)
    } catch (error) {
      // A recursive schema on a deeply nested body exhausts the stack: the client's doing, so not a 500.
      if (!(error instanceof RangeError)) throw error
      validate.errors = reject(part, [{ keyword: 'depth', instancePath: '', schemaPath: '', params: {} }], 1)
    }
    return false
  }
  validate.errors = null
  return validate
}

/** Null where it finds nothing, which is for `first` to say. */
function findAll (validate: ValidateFunction, data: unknown): readonly Finding[] | null {
  return validate(data) ? null : validate.errors ?? null
}

function compile (ajv: Ajv, schema: unknown): ValidateFunction {
  const validate = ajv.compile(schema as object)
  // Its promise would count as "valid": asynchronous checks belong into a hook, where a store may be asked.
  if ('$async' in validate)
    {throw new TypeError(
      'asynchronous schemas ($async) are not supported: check what needs a store in a preHandler hook',
    )}
  return validate
}

function assertServerOptions (server: ServerAjvOptions): void {
  if (server.mode !== undefined)
    {throw new TypeError(
      `the validation plugin validates JSON Schema; remove ajv.mode '${server.mode}' from the server's options`,
    )}
  const owned = OWNED_OPTIONS.filter((name) => server.customOptions?.[name] !== undefined)
  if (owned.length > 0)
    {throw new TypeError(
      `the validation plugin owns these Ajv options: ${
        owned.join(', ')
      }. Remove them from ajv.customOptions of the server's options`,
    )}
}

function lazy<T> (create: () => T): () => T {
  let made: { readonly value: T } | null = null
  return () => (made ??= { value: create() }).value
}

/** Ajv resolves a schema's reference to its own id only where it stands inside another one. */
function hasId (schema: unknown): boolean {
  return typeof schema === 'object' && schema !== null && '$id' in schema
}

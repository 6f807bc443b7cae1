import { Ajv, type Options as AjvOptions, type ValidateFunction } from 'ajv'
import unevaluated from 'ajv/dist/vocabularies/unevaluated/index.js'
import ajvFormats from 'ajv-formats'
import { SecurityError } from '../errors.js'
import { closedCopy, targetCopy } from './closed.js'
import { eventPaths, fieldErrors, type Finding } from './messages.js'
import { addSanitize, cleaning } from './sanitize-keyword.js'
import { sizeUpTo } from './size.js'

export interface ValidationLimits {
  /** At most this many findings stand in an answer. */
  readonly maxErrors: number
  /** Up to this size, in bytes of JSON, all findings are collected; beyond it, only the first. */
  readonly allErrorsUpTo: number
}

/** What a refused request part was, for the security event. */
export interface Rejection { readonly part: string, readonly paths: readonly string[] }

/**
 * What Fastify calls. It returns a plain boolean also for `request.validateInput`, whose callers test it for truth;
 * Fastify itself answers `false` with `errors`, and throws it as it is because it is an Error.
 */
export interface PartValidator {
  (data: unknown): boolean
  errors: SecurityError | null
}

export type PartCompiler = (route: { readonly schema: unknown, readonly method?: string, readonly url?: string, readonly httpPart?: string | null }) => PartValidator

/** The `ajv` option that `fastify()` was given. */
export interface ServerAjvOptions {
  readonly customOptions?: Readonly<Record<string, unknown>>
  readonly plugins?: readonly unknown[]
  readonly onCreate?: (ajv: Ajv) => void
  readonly mode?: string
}

/** Ajv options that decide what is accepted: the suite owns them. */
const OWNED_OPTIONS = ['allErrors', 'coerceTypes', 'removeAdditional', '$data', 'unevaluated', 'addUsedSchema']

/** Keeps what was refused beside its error, where a handler or a client cannot see it. */
const REJECTIONS = new WeakMap<object, Rejection>()

/** What was refused, once for each error, so that nested hooks do not report it twice; null for any other error. */
export function takeRejection (error: unknown): Rejection | null {
  if (typeof error !== 'object' || error === null) return null
  const rejection = REJECTIONS.get(error) ?? null
  REJECTIONS.delete(error)
  return rejection
}

/**
 * A validator factory for Fastify's schema controller. Bodies: closed, without coercion. Query strings: closed, their
 * text coerced. Path parameters and headers: coerced, and open.
 * @throws TypeError at boot for an `ajv` option or a schema that would weaken this.
 */
export function createValidatorFactory (limits: ValidationLimits): (external: Readonly<Record<string, unknown>>, server?: ServerAjvOptions) => PartCompiler {
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
    const originals = Object.values(external)
    const targets = originals.map(targetCopy)
    const strict = lazy(() => createPair(server, { coerceTypes: false }, targets))
    const coerced = lazy(() => createPair(server, { coerceTypes: 'array' }, targets))
    const open = lazy(() => createPair(server, { coerceTypes: 'array' }, originals))
    return function compilePart ({ schema, httpPart }) {
      const part = httpPart === 'querystring' ? 'query' : httpPart ?? 'input'
      const input = byReference(schema, external)
      if (part === 'params' || part === 'headers') return validatorOf(part, open(), input, limits)
      return validatorOf(part, part === 'query' ? coerced() : strict(), closedCopy(input), limits)
    }
  }
}

/** A schema that was also added under its id is meant by that id: Ajv refuses two schemas of one id. */
function byReference (schema: unknown, external: Readonly<Record<string, unknown>>): unknown {
  const id: unknown = typeof schema === 'object' && schema !== null && '$id' in schema ? schema.$id : undefined
  return typeof id === 'string' && Object.hasOwn(external, id) ? { $ref: `${id}#` } : schema
}

/** Two for each schema: `first` stops at the first finding and has judged the schema itself before `all` compiles it. */
interface Pair { readonly first: Ajv, readonly all: Ajv }

function createPair (server: ServerAjvOptions, own: AjvOptions, external: readonly unknown[]): Pair {
  return { first: createAjv(server, { ...own, allErrors: false }, external), all: createAjv(server, { ...own, allErrors: true, validateSchema: false }, external) }
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
  let hasFormats = false
  for (const entry of server.plugins ?? []) {
    const [plugin, options] = (Array.isArray(entry) ? entry : [entry]) as [(ajv: Ajv, options?: unknown) => unknown, unknown?]
    if (plugin.name === 'formatsPlugin') hasFormats = true
    plugin(ajv, options)
  }
  if (!hasFormats) ajvFormats.default(ajv)
  server.onCreate?.(ajv)
  for (const schema of external) ajv.addSchema(schema as object)
  return ajv
}

function validatorOf (part: string, pair: Pair, schema: unknown, limits: ValidationLimits): PartValidator {
  const first = cleaning(pair.first, compile(pair.first, schema))
  const all = compile(pair.all, schema)
  const validate: PartValidator = function validatePart (data) {
    validate.errors = null
    try {
      if (first(data)) return true
      const findings = sizeUpTo(data, limits.allErrorsUpTo) <= limits.allErrorsUpTo && !all(data) ? all.errors : first.errors
      validate.errors = rejection(part, findings ?? [], limits.maxErrors)
    } catch (error) {
      // A recursive schema on a deeply nested body exhausts the stack: the client's doing, so not a 500.
      if (!(error instanceof RangeError)) throw error
      validate.errors = rejection(part, [{ keyword: 'depth', instancePath: '', schemaPath: '', params: {} }], 1)
    }
    return false
  }
  validate.errors = null
  return validate
}

function rejection (part: string, findings: readonly Finding[], max: number): SecurityError {
  const error = new SecurityError('VALIDATION_FAILED', { members: { errors: fieldErrors(part, findings, max) } })
  REJECTIONS.set(error, { part, paths: eventPaths(part, findings, max) })
  return error
}

function compile (ajv: Ajv, schema: unknown): ValidateFunction {
  const validate = ajv.compile(schema as object)
  // Its promise would count as "valid": asynchronous checks belong into a hook, where a store may be asked.
  if ('$async' in validate) throw new TypeError('asynchronous schemas ($async) are not supported: check what needs a store in a preHandler hook')
  return validate
}

function assertServerOptions (server: ServerAjvOptions): void {
  if (server.mode !== undefined) throw new TypeError(`the validation plugin validates JSON Schema; remove ajv.mode '${server.mode}' from the server's options`)
  const owned = OWNED_OPTIONS.filter((name) => server.customOptions?.[name] !== undefined)
  if (owned.length > 0) throw new TypeError(`the validation plugin owns these Ajv options: ${owned.join(', ')}. Remove them from ajv.customOptions of the server's options`)
}

function lazy<T> (create: () => T): () => T {
  let made: { readonly value: T } | null = null
  return () => (made ??= { value: create() }).value
}

import type { FastifyInstance } from 'fastify'
import { isPlainObject } from '../options/check-options.js'
import type { CredentialSource } from './credentials.js'
import type { ResolvedAuthPolicy } from './policy.js'

export interface OpenApiSettings {
  readonly sources: readonly CredentialSource[]
  /** The name of the access cookie. */
  readonly cookieName: string
}

type Members = Record<string, unknown>

/** Holds the number of a route in its operation; both modes of @fastify/swagger copy extensions (`x-…`) of a schema. */
const MARK = 'x-bulwark-auth'

/** The policies of the marked routes by their number; each is complete once the app is ready. */
type MarkedPolicies = { readonly auth?: ResolvedAuthPolicy }[]

/**
 * Documents the guards where @fastify/swagger is registered, before or after: security schemes, what each operation
 * needs, and its 401 and 403. Nothing is changed while the document is made: its generator looks up the schemes in
 * options that are out of reach here, so the routes are marked and the finished document is completed.
 */
export function documentAuth (app: FastifyInstance, settings: OpenApiSettings): void {
  const policies: MarkedPolicies = []
  app.addHook('onRoute', function markForOpenApi (route) {
    // Without swagger, or before it, a route is in no document.
    if (!this.hasDecorator('swagger') || route.config?.security === undefined) return
    // A copy: the same schema may serve other routes.
    route.schema = Object.assign({}, route.schema, { [MARK]: policies.push(route.config.security) - 1 })
  })
  app.addHook('onReady', function completeOpenApi (done) {
    if (app.hasDecorator('swagger')) wrap(app, policies, settings)
    done()
  })
}

type Document = (options?: { readonly yaml?: boolean }) => unknown

/** Replaces the decorator on the instance that has it, so that every scope sees the completed document. */
function wrap (app: FastifyInstance, policies: MarkedPolicies, settings: OpenApiSettings): void {
  let owner: object = app
  while (!Object.hasOwn(owner, 'swagger')) owner = Object.getPrototypeOf(owner) as object
  const holder = owner as { swagger: Document }
  const original = holder.swagger
  let source: unknown
  let completed: Members | null = null
  let text: string | null = null
  holder.swagger = function swagger (options) {
    const document = original()
    if (document !== source) {
      source = document
      completed = isPlainObject(document) ? complete(document, policies, settings) : null
      text = null
    }
    if (completed === null) return original(options)
    if (options?.yaml !== true) return completed
    // JSON is YAML 1.2 (YAML 1.2.2, section 1.3).
    text ??= `${JSON.stringify(completed, null, 2)}\n`
    return text
  }
}

/** A completed copy; null for a document without marks, which is the app's own (swagger's static mode). */
function complete (source: Members, policies: MarkedPolicies, settings: OpenApiSettings): Members | null {
  if (!operationsOf(source).some((operation) => MARK in operation)) return null
  // What it holds may be the app's own options, in part.
  const document = JSON.parse(JSON.stringify(source)) as Members
  const schemes = schemesOf(document, settings)
  const required = Object.keys(schemes).map((name) => ({ [name]: [] }))
  addSchemes(document, schemes)
  for (const operation of operationsOf(document)) {
    const policy = policies[Number(operation[MARK])]?.auth
    Reflect.deleteProperty(operation, MARK)
    if (policy !== undefined) describe(operation, policy, required)
  }
  return document
}

function operationsOf ({ paths }: Members): Members[] {
  if (!isPlainObject(paths)) return []
  return Object.values(paths).flatMap((path) => isPlainObject(path) ? Object.values(path).filter(isPlainObject) : [])
}

function schemesOf (document: Members, { sources, cookieName }: OpenApiSettings): Members {
  // Swagger 2.0 knows neither cookies nor Bearer tokens: both are headers there.
  const old = 'swagger' in document
  return {
    ...sources.includes('cookie') &&
      {
        cookieAuth: old
          ? { type: 'apiKey', in: 'header', name: 'Cookie', description: `The cookie ${cookieName}.` }
          : { type: 'apiKey', in: 'cookie', name: cookieName },
      },
    ...sources.includes('bearer') &&
      {
        bearerAuth: old
          ? { type: 'apiKey', in: 'header', name: 'Authorization', description: 'Bearer and the access token.' }
          : { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
      },
  }
}

/** The app's own of the same name stay. */
function addSchemes (document: Members, schemes: Members): void {
  if ('swagger' in document) {
    document['securityDefinitions'] = { ...schemes, ...document['securityDefinitions'] as Members | null | undefined }
    return
  }
  const components = document['components'] as Members | null | undefined
  document['components'] = {
    ...components,
    securitySchemes: { ...schemes, ...components?.['securitySchemes'] as Members | null | undefined },
  }
}

/** What the route's own schema says stays as it is. */
function describe (operation: Members, policy: ResolvedAuthPolicy, required: readonly Members[]): void {
  const { access, roles, scopes } = policy
  if (operation['security'] !== undefined) return
  operation['security'] = access === 'public' ? [] : access === 'optional' ? [...required, {}] : [...required]
  if (access === 'public') return
  const responses = isPlainObject(operation['responses']) ? operation['responses'] : {}
  operation['responses'] = {
    ...responses,
    ...!('401' in responses) &&
      {
        401: {
          description: access === 'optional'
            ? 'The token is not valid.'
            : 'There is no token, or it is not valid.',
        },
      },
    ...(roles.length > 0 || scopes.length > 0) && !('403' in responses) &&
      { 403: { description: 'The account may not do this.' } },
  }
}

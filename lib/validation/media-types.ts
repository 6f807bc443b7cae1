import type { FastifySchema } from 'fastify'
import type { Problem } from '../response/errors.js'
import { MEDIA_TYPE, type ResolvedValidationPolicy } from './policy.js'
import { isSchema } from './json-schema.js'

interface BodyRoute { readonly method: string | readonly string[], readonly schema?: FastifySchema | undefined }

const JSON_ONLY: ReadonlySet<string> = new Set(['application/json'])
const NONE: ReadonlySet<string> = new Set()
/** Fastify parses no body of these. */
const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'TRACE'])

/**
 * How a route's body is checked: by a schema, by the handler alone (`contentTypes` without a schema), or it takes none.
 */
export function bodyCheckOf (
  { method, schema }: BodyRoute,
  policy: ResolvedValidationPolicy | undefined,
): 'schema' | 'unchecked' | 'none' {
  if ((typeof method === 'string' ? method.split('|') : method).every((name) => BODYLESS.has(name))) return 'none'
  if (schema?.body !== undefined && schema.body !== null) return 'schema'
  return policy?.contentTypes === null || policy?.contentTypes.length === 0 ? 'none' : 'unchecked'
}

/**
 * The media types a route takes; null for any. A schema means JSON unless it names types itself. Without a schema
 * nothing would be checked: under the umbrella (`isStrict`) such a body is refused, unless the route names what its
 * handler takes.
 */
export function mediaTypesOf (
  route: BodyRoute,
  policy: ResolvedValidationPolicy,
  isStrict: boolean,
): ReadonlySet<string> | null {
  const declared = policy.contentTypes === null ? null : new Set(policy.contentTypes)
  const check = bodyCheckOf(route, policy)
  if (check === 'schema') {
    const named = contentOf(route.schema?.body)
    // A type without a schema would not be validated, whatever the route names.
    return named === null
      ? declared ?? JSON_ONLY
      : new Set(Object.keys(named).filter((type) => declared?.has(type) ?? true))
  }
  if (check === 'unchecked') return declared
  const takesBody = ![route.method].flat().every((method) => BODYLESS.has(method))
  return takesBody && (isStrict || declared !== null) ? NONE : null
}

/** What a route says of media types that could never take effect. `own`: what it wrote itself, and did not inherit. */
export function mediaTypeProblems (
  route: BodyRoute & { readonly url: string },
  own: readonly string[] | undefined,
): Problem[] {
  const problems: Problem[] = []
  const methods = [route.method].flat()
  // The automatic HEAD route repeats what its GET said.
  if (methods.join() === 'HEAD') return problems
  const label = `${methods.join('|')} ${route.url}`
  const named = Object.keys(contentOf(route.schema?.body) ?? {})
  for (const type of named) {
    if (!MEDIA_TYPE.test(type))
      {problems.push({
        path: `${label} body.content`,
        message: `"${type.slice(0, 100)}" is no media type that a request is known by.`,
        fix: 'Write type and subtype in lower case, without parameters or wildcards: application/json.',
      })}
  }
  if (own === undefined || own.length === 0) return problems
  if (methods.every((method) => BODYLESS.has(method))) {
    problems.push({
      path: `${label} security.validation.contentTypes`,
      message: 'This method has no body.',
      fix: 'Remove contentTypes.',
    })
  } else if (named.length > 0 && !named.some((type) => own.includes(type))) {
    problems.push({
      path: `${label} security.validation.contentTypes`,
      message: 'None of these types has a schema, so every body would be refused.',
      fix: `Name some of body.content: ${named.join(', ').slice(0, 200)}; or leave contentTypes out.`,
    })
  }
  return problems
}

/** Shallow copies of the schemas that Fastify hands to the validator, so that each is known as its route's own. */
export function markSchemas (schema: FastifySchema, mark: (copy: object) => void): FastifySchema {
  const copies: FastifySchema = { ...schema }
  for (const part of ['body', 'querystring', 'query'] as const) {
    const own = (schema as Readonly<Record<string, unknown>>)[part]
    if (!isSchema(own)) continue
    const content = part === 'body' ? contentOf(own) : null
    const copy = content === null
      ? { ...own }
      : {
        ...own,
        content: Object.fromEntries(
          Object.entries(content).map((
            [type, entry],
          ) => [
            type,
            isSchema(entry) && isSchema(entry['schema']) ? { ...entry, schema: marked(entry['schema']) } : entry,
          ]),
        ),
      }
    mark(copy)
    Object.assign(copies, { [part]: copy })
  }
  return copies

  function marked (own: object): object {
    const copy = { ...own }
    mark(copy)
    return copy
  }
}

/** Whether the schema is found by the media type, so that a body without one is not validated. */
export function hasSchemaByType (schema: FastifySchema | undefined): boolean {
  return contentOf(schema?.body) !== null
}

function contentOf (body: unknown): Readonly<Record<string, unknown>> | null {
  const content = isSchema(body) ? body['content'] : undefined
  return isSchema(content) ? content : null
}

import type { RouteInfo, Step } from '../policy/section.js'
import { refusal, type Problem } from '../response/errors.js'
import { isSchema } from './json-schema.js'
import type { ResolvedValidationPolicy } from './options.js'
import { MEDIA_TYPE } from './resolve.js'

type BodyRoute = Pick<RouteInfo, 'method' | 'schema'>

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
  if (takesNoBody(method)) return 'none'
  if (schema['body'] !== undefined && schema['body'] !== null) return 'schema'
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
    const named = contentOf(route.schema['body'])
    // A type without a schema would not be validated, even if the route names it.
    return named === null
      ? declared ?? JSON_ONLY
      : new Set(Object.keys(named).filter((type) => declared?.has(type) ?? true))
  }
  if (check === 'unchecked') return declared
  return !takesNoBody(route.method) && (isStrict || declared !== null) ? NONE : null
}

function takesNoBody (method: string): boolean {
  return method.split('|').every((name) => BODYLESS.has(name))
}

/** The media types of a route that could never take effect. `own`: what the route itself wrote as `contentTypes`. */
export function mediaTypeProblems ({ method, label, schema }: RouteInfo, own: unknown): Problem[] {
  const problems: Problem[] = []
  const named = Object.keys(contentOf(schema['body']) ?? {})
  for (const type of named) {
    if (MEDIA_TYPE.test(type)) continue
    problems.push({
      path: `${label} body.content`,
      message: `"${type.slice(0, 100)}" is no media type that a request is known by.`,
      fix: 'Write type and subtype in lower case, without parameters or wildcards: application/json.',
    })
  }
  if (!Array.isArray(own) || own.length === 0) return problems
  const path = `${label} security.validation.contentTypes`
  if (takesNoBody(method)) {
    problems.push({ path, message: 'This method has no body.', fix: 'Remove contentTypes.' })
  } else if (named.length > 0 && !named.some((type) => own.includes(type))) {
    problems.push({
      path,
      message: 'None of these types has a schema, so every body would be refused.',
      fix: `Name some of body.content: ${named.join(', ').slice(0, 200)}; or leave contentTypes out.`,
    })
  }
  return problems
}

/**
 * The step that refuses a body of another media type, or null where any may come. Fastify validates nothing when the
 * type is not among those of the schema, and everything that it can parse when there is one schema for all types.
 */
export function refuseOtherTypes (route: RouteInfo, policy: ResolvedValidationPolicy, isStrict: boolean): Step | null {
  const types = mediaTypesOf(route, policy, isStrict)
  if (types === null) return null
  // Without a body there is no type. One schema for all types judges that itself; one by type would not be found.
  const mayBeMissing = contentOf(route.schema['body']) === null
  return function refuseOtherType ({ body, headers, mediaType }) {
    const isMissing = mayBeMissing && body === undefined && headers['content-type'] === undefined
    return isMissing || types.has(mediaType ?? '') ? undefined : refusal('MEDIA_TYPE_NOT_SUPPORTED')
  }
}

/** The schemas of a body by media type; null for one schema for all. */
export function contentOf (body: unknown): Readonly<Record<string, unknown>> | null {
  const content = isSchema(body) ? body['content'] : undefined
  return isSchema(content) ? content : null
}

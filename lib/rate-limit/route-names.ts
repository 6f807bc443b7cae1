import { isPlainObject } from '../options/check-options.js'
import { mergeNames } from '../policy/merge.js'
import type { RouteInfo } from '../policy/section.js'
import type { Problem } from '../response/errors.js'
import { mayCarryText } from './body-schema.js'
import { isBodyPart } from './key-parts.js'
import { hintFor } from './plan.js'
import type { Policies, ResolvedLimit } from './policies.js'
import type { RateLimitRouteOptions } from './options.js'

/**
 * Resolves what a route or a scope wrote: names are added to the base's, `{ only }` replaces them, `false` empties
 * them. An unknown name is a problem.
 */
export function resolveNames (
  policies: Policies,
  base: readonly string[],
  input: unknown,
  where: string,
  problems: Problem[],
): readonly string[] {
  if (!isRouteInput(input)) {
    problems.push({
      path: where,
      message: 'Not a list of policies.',
      fix: "Write a list of names, { only: [names] } to drop the scope's, or false.",
    })
    return base
  }
  const names = mergeNames(base, input)
  for (const name of names) {
    if (policies.has(name)) continue
    problems.push({
      path: where,
      message: `There is no rate-limit policy "${name}".`,
      fix: hintFor(name, [...policies.keys()]),
    })
  }
  return Object.freeze(names.filter((name) => policies.has(name)))
}

function isRouteInput (input: unknown): input is RateLimitRouteOptions {
  if (input === false) return true
  if (Array.isArray(input)) return input.every((name) => typeof name === 'string')
  return isPlainObject(input) && Object.keys(input).length === 1 && Array.isArray(input['only']) &&
    input['only'].every((name) => typeof name === 'string')
}

const BODYLESS_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'TRACE'])

/** A body key on a route that never has that field would put every caller into one bucket. */
export function checkBodyParts ({ policy, parts }: ResolvedLimit, route: RouteInfo, problems: Problem[]): void {
  for (const { body: field } of parts.filter(isBodyPart)) {
    const counts = `The policy "${policy}" counts by the body field "${field}"`
    const path = `${route.label} security.rateLimit`
    if (route.method.split('|').every((method) => BODYLESS_METHODS.has(method))) {
      problems.push({
        path,
        message: `${counts}, and this route has no body.`,
        fix: 'Name the policy on routes with a body only.',
      })
    } else if (!mayCarryText(route.schema['body'], field)) {
      problems.push({
        path,
        message: `${counts}, which the body schema of this route does not have as text.`,
        fix: 'Add the field to the schema as a string, or choose another policy.',
      })
    }
  }
}

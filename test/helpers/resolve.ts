import type { Problem } from '../../lib/response/errors.js'
import type { Boot, SecurityPlugin } from '../../lib/policy/plugin.js'

const DEVELOPMENT: Boot = { production: false, config: {} }

/** Resolves the options of one plugin alone, without a server. */
export function resolveAlone<Policy> (
  plugin: Pick<SecurityPlugin<never, Policy>, 'resolve'>,
  options: unknown,
  boot: Boot = DEVELOPMENT,
): { readonly policy: Policy, readonly problems: readonly Problem[] } {
  const problems: Problem[] = []
  const policy = plugin.resolve(options, { problems, boot, definition: {}, inherited: undefined })
  return { policy, problems }
}

/** Everything that is wrong with the options of one plugin. */
export function problemsWith (plugin: Pick<SecurityPlugin, 'resolve'>, options: unknown, boot?: Boot): Problem[] {
  return [...resolveAlone(plugin, options, boot).problems]
}

import type { RouteOptions } from 'fastify'
import type { Problem } from '../response/errors.js'
import type { RouteRecord } from './scope.js'

/** A key that an official plugin reads from a route, and what this suite has in its place. */
interface ForeignKey {
  /** Where the route writes it. */
  readonly path: 'config.rateLimit' | 'config.cors' | 'config.csrf' | 'config.helmet' | 'helmet'
  /** The plugin that reads it. */
  readonly plugin: string
  readonly fix: string
}

const FOREIGN_KEYS: readonly ForeignKey[] = [
  {
    path: 'config.rateLimit',
    plugin: '@fastify/rate-limit',
    fix: 'Write security: { rateLimit: [\'name\'] } with a policy of rateLimit.policies, and turn rateLimit on.',
  },
  { path: 'config.cors', plugin: '@fastify/cors', fix: 'Write security: { cors: { origin: [...] } }.' },
  { path: 'config.csrf', plugin: '@fastify/csrf-protection', fix: 'Write security: { csrf: \'always\' }.' },
  { path: 'config.helmet', plugin: '@fastify/helmet', fix: 'Write security: { headers: { ... } }.' },
  { path: 'helmet', plugin: '@fastify/helmet', fix: 'Write security: { headers: { ... } }.' },
]

/** The keys of official plugins that this route wrote. */
export function foreignKeysOf (route: RouteOptions): string[] {
  const written: Readonly<Record<string, unknown>> = { ...route, config: undefined }
  const config: Readonly<Record<string, unknown>> = { ...route.config }
  return FOREIGN_KEYS
    .map(({ path }) => path)
    .filter((path) => (path === 'helmet' ? written[path] : config[path.slice('config.'.length)]) !== undefined)
}

/** Adds a problem for each such key that no plugin reads: it would be without effect. */
export function checkForeignKeys ({ info, instance, foreignKeys }: RouteRecord, problems: Problem[]): void {
  for (const { path, plugin, fix } of FOREIGN_KEYS) {
    if (!foreignKeys.includes(path) || instance.hasPlugin(plugin)) continue
    problems.push({ path: `${info.label} ${path}`, message: `No plugin reads this key: it belongs to ${plugin}.`, fix })
  }
}

import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { SecurityEvent } from '../events/catalogue.js'
import type { Problem } from '../response/errors.js'
import { checkKeys, compilePolicy, resolvePolicy, type BoundSection, type CompiledPolicy } from './compile.js'
import { parentOf } from './instance.js'
import type { OptionalHook } from './pipeline.js'
import type { PolicySection, RouteInfo } from './section.js'
import type { ResolvedRouteSecurity, SecurityApi } from './types.js'

/** A route that `onRoute` has seen. */
export interface RouteRecord {
  readonly info: RouteInfo
  /** The instance that declared it: its chain of parents decides which policies hold. */
  readonly instance: FastifyInstance
  /** What was written under `security`. */
  readonly input: unknown
  /** The object in `route.config.security`: empty until every plugin is loaded, then complete and frozen. */
  readonly policy: ResolvedRouteSecurity
  /** Fastify's route constraints (`host`, `version`, custom ones). */
  readonly constraints: Readonly<Record<string, unknown>>
  /** Keys of official plugins that the route wrote: `config.cors`. */
  readonly foreignKeys: readonly string[]
}

/** What all scopes of one server share. */
export interface SecurityRoot {
  /** The instance that `fastify()` returned. */
  readonly instance: FastifyInstance
  /** Everything wrong so far. `onReady` throws it as one error. */
  readonly problems: Problem[]
  readonly scopes: SecurityScope[]
  readonly routes: RouteRecord[]
  /** What can only be judged when every plugin is loaded; their problems join the others'. */
  readonly readyChecks: ((problems: Problem[]) => void)[]
  /** Routes that existed before the suite could see them. */
  readonly earlyRoutes: Set<string>
  /** The optional hooks that run because a section needs them. */
  readonly hooks: Set<OptionalHook>
  /** Keyed by the object in `route.config.security`, so that a look-alike in `config` is not taken for one. */
  readonly compiled: WeakMap<object, CompiledPolicy>
  readonly api: SecurityApi
  /** True once every plugin is loaded and every policy is resolved. */
  settled: boolean
  /** True under the umbrella. */
  strict: boolean
  /** True when the service runs in production (`isProduction`). */
  production: boolean
  /** Values of `app.config`, for plugins that look up a default there; empty without the env plugin. */
  config: Readonly<Record<string, unknown>>
  /** Set by the events plugin; without it events are not recorded. */
  emit: (event: SecurityEvent, request: FastifyRequest | null) => void
  /** Set by the transport plugin: the methods that are served at all. Absent, all are. */
  servedMethods?: ReadonlySet<string>
  /** Set by the cors plugin: whether the route's CORS policy grants this origin with credentials. */
  allowsCredentials?: (request: FastifyRequest, origin: string) => boolean
}

/** What a scope says about policies; it has the shape of a route's `security` key. */
interface Override { readonly input: unknown, readonly where: string }

/**
 * The policies that one Fastify instance adds to those of its parents. It is looked up by the chain of instances, so
 * it holds for every route of the instance and of its children, whenever they were declared.
 */
export class SecurityScope {
  readonly root: SecurityRoot
  readonly instance: FastifyInstance
  /** Keys of plugins registered on this very instance: a second registration is refused. */
  readonly registered = new Set<string>()
  readonly #plugins = new Map<string, BoundSection>()
  readonly #overrides: Override[] = []
  #sections: ReadonlyMap<string, BoundSection> | null = null
  #compiledBase: CompiledPolicy | null = null

  constructor (root: SecurityRoot, instance: FastifyInstance) {
    this.root = root
    this.instance = instance
  }

  /** The sections that hold here, each with its base policy. Final once the root is settled. */
  get sections (): ReadonlyMap<string, BoundSection> {
    return this.#sections ?? this.#resolveSections([])
  }

  /** The policy of requests that match no route (404). */
  get compiledBase (): CompiledPolicy {
    return this.#compiledBase ?? this.#compileBase([])
  }

  /** True when the plugin of this key is loaded, and not turned off. */
  isOn (key: string): boolean {
    const bound = this.sections.get(key)
    return bound !== undefined && bound.section.off !== true
  }

  addPlugin (section: PolicySection, base: unknown): void {
    this.#plugins.set(section.key, { section, base })
  }

  addOverride (input: unknown, where: string): void {
    this.#overrides.push({ input, where })
  }

  /** Resolves what holds here for good; to be called once, when every plugin is loaded. */
  settle (problems: Problem[]): void {
    for (const { input, where } of this.#overrides) checkKeys(this.sections, input, where, problems)
    this.#sections = this.#resolveSections(problems)
    this.#compiledBase = this.#compileBase(problems)
  }

  #resolveSections (problems: Problem[]): ReadonlyMap<string, BoundSection> {
    const parent = parentOf(this.instance)
    const inherited = parent === null ? null : findScope(parent)
    const sections = new Map([...inherited?.sections ?? [], ...this.#plugins])
    for (const { input, where } of this.#overrides) {
      const resolved: Readonly<Record<string, unknown>> = { ...resolvePolicy(sections, input, where, problems) }
      for (const [key, { section }] of sections) sections.set(key, { section, base: resolved[key] })
    }
    return sections
  }

  #compileBase (problems: Problem[]): CompiledPolicy {
    const base = resolvePolicy(this.sections, undefined, 'defaults', problems)
    return compilePolicy(this.sections, base, null, problems)
  }
}

const kScope: unique symbol = Symbol('bulwark.scope')

interface Scoped { readonly [kScope]?: SecurityScope }

export function setScope (instance: FastifyInstance, scope: SecurityScope): void {
  Object.defineProperty(instance, kScope, { value: scope })
}

/** The scope that belongs to this very instance, or null when it only inherits one. */
export function ownScope (instance: FastifyInstance): SecurityScope | null {
  return Object.hasOwn(instance, kScope) ? findScope(instance) : null
}

/** The nearest scope: a child instance has its parent as prototype. */
export function findScope (instance: FastifyInstance): SecurityScope | null {
  return (instance as Scoped)[kScope] ?? null
}

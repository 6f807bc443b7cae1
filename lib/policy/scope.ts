import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Problem } from '../response/errors.js'
import type { SecurityEvent } from '../events/catalogue.js'
import type { HandlerTimeouts } from '../response/handler-timeouts.js'
import { compilePolicy, resolvePolicy, type BoundSection, type CompiledPolicy } from './compile.js'
import type { OptionalHook, PolicySection, RouteInfo } from './section.js'
import type { ResolvedRouteSecurity, SecurityApi } from './types.js'

/** A route that `onRoute` has seen. */
export interface RouteRecord {
  readonly info: RouteInfo
  readonly scope: SecurityScope
  /** What was written under `security`; kept to check its keys when all plugins are loaded. */
  readonly input: unknown
  readonly policy: ResolvedRouteSecurity
  /** Fastify's route constraints (`host`, `version`, custom ones). */
  readonly constraints: Readonly<Record<string, unknown>>
}

/** What all scopes of one server share. */
export interface SecurityRoot {
  readonly instance: FastifyInstance
  /** Everything wrong so far. `onReady` throws it as one error. */
  readonly problems: Problem[]
  readonly routes: RouteRecord[]
  /** What can only be judged when every plugin is loaded; their problems join the others'. */
  readonly readyChecks: ((problems: Problem[]) => void)[]
  /** Routes that existed before the first plugin of the suite was loaded. */
  earlyRoutes: readonly string[]
  /** The optional hooks that run because a section asked for them. */
  readonly hooks: Set<OptionalHook>
  /**
   * Keyed by the frozen policy in `route.config.security`, so that a look-alike object in `config` is not taken for
   * one.
   */
  readonly compiled: WeakMap<object, CompiledPolicy>
  readonly api: SecurityApi
  /** Gives up handlers that do not answer; null where nothing has to be told (`installHandlerTimeouts`). */
  readonly handlerTimeouts: HandlerTimeouts | null
  /** True under the umbrella: a matched route without a compiled policy is refused instead of given the base policy. */
  strict: boolean
  /** True when the service runs in production (`isProduction`). */
  production: boolean
  /** Values of `app.config`, for plugins that look up a default there; empty without the env plugin. */
  config: Readonly<Record<string, unknown>>
  /** Set by the events plugin; without it events are not recorded. */
  emit: (event: SecurityEvent, request: FastifyRequest | null) => void
  /** Set by the transport plugin: the methods that are served at all. Absent, all are. */
  servedMethods?: ReadonlySet<string>
  /**
   * Set by the cors plugin: whether the matched route's CORS policy grants this origin with credentials. Absent, nobody
   * is granted.
   */
  allowsCredentials?: (request: FastifyRequest, origin: string) => boolean
}

/** The policy bases that hold in one Fastify scope (and in its children, unless they override). */
export class SecurityScope {
  readonly root: SecurityRoot
  readonly sections: Map<string, BoundSection>
  /** Keys of plugins registered in this very scope: a second registration is refused. */
  readonly registered = new Set<string>()
  /** The scope it derives from; null for the root. */
  parent: SecurityScope | null = null
  /** The first route declared in this very scope, to refuse an override that would come too late for it. */
  firstRoute: string | null = null
  #compiledBase: CompiledPolicy | null = null

  constructor (root: SecurityRoot, sections: ReadonlyMap<string, BoundSection>) {
    this.root = root
    this.sections = new Map(sections)
  }

  /** True when the plugin of this key is loaded, and not turned off. */
  isOn (key: string): boolean {
    const bound = this.sections.get(key)
    return bound !== undefined && bound.section.off !== true
  }

  /** The policy of requests that match no route (404), and of routes that a single plugin never saw. */
  get compiledBase (): CompiledPolicy {
    this.#compiledBase ??= compilePolicy(
      this.sections,
      resolvePolicy(this.sections, undefined, 'defaults', this.root.problems),
      null,
      this.root.problems,
    )
    return this.#compiledBase
  }

  setSection (section: PolicySection, base: unknown): void {
    this.sections.set(section.key, { section, base })
    this.#compiledBase = null
  }
}

const kScope: unique symbol = Symbol('bulwark.scope')

interface Scoped { readonly [kScope]?: SecurityScope }

export function setScope (instance: FastifyInstance, scope: SecurityScope): void {
  Object.defineProperty(instance, kScope, { value: scope, configurable: true })
}

/** The scope that belongs to this very instance, or null when it only inherits one. */
export function ownScope (instance: FastifyInstance): SecurityScope | null {
  return Object.hasOwn(instance, kScope) ? findScope(instance) : null
}

/** The nearest scope: a child instance has its parent as prototype, so the chain is the encapsulation tree. */
export function findScope (instance: FastifyInstance): SecurityScope | null {
  return (instance as Scoped)[kScope] ?? null
}

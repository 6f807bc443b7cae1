import type { FastifyInstance, RouteOptions } from 'fastify'
import { isProduction } from '../env/is-production.js'
import { assertNoProblems, type Problem } from '../response/errors.js'
import { createHandlerTimeouts } from '../response/handler-timeouts.js'
import { checkKeys, compilePolicy, resolveInto, resolveKey, resolvePolicy, type BoundSection } from './compile.js'
import { declaredRoutes } from './declared-routes.js'
import { checkForeignKeys, foreignKeysOf } from './foreign-keys.js'
import { addOptionalHook, addPipelineHooks } from './hooks.js'
import { isRootInstance, rootOf } from './instance.js'
import type { PolicySection, RouteInfo } from './section.js'
import { findScope, ownScope, SecurityScope, setScope, type RouteRecord, type SecurityRoot } from './scope.js'
import type { ResolvedRouteSecurity, RouteSecurityOptions, SecurityApi } from './types.js'

/**
 * The security scope that holds on this instance. The first plugin of the suite on a server installs the pipeline:
 * `onRoute` records each route, instance hooks run its compiled policy, `onReady` resolves and compiles all policies
 * and throws all problems as one error.
 */
export function securityOf (app: FastifyInstance): SecurityScope {
  return findScope(app) ?? openScope(app)
}

/** Throws when `key` is registered twice on the same instance; a child scope may register again. */
export function claimRegistration (app: FastifyInstance, key: string): void {
  const { registered } = ownScope(app) ?? openScope(app)
  if (registered.has(key)) {
    assertNoProblems([{
      path: key,
      message: 'Registered twice in the same scope.',
      fix: 'Register it once, and override in a child scope (app.secureScope) or on a route (its `security` key).',
    }])
  }
  registered.add(key)
}

/** Gives this instance, its children and all their routes, earlier ones too, a section with its base policy. */
export function addSection (app: FastifyInstance, section: PolicySection, base: unknown): void {
  const scope = ownScope(app) ?? openScope(app)
  scope.addPlugin(section, base)
  const { hooks, instance } = scope.root
  for (const hook of section.hooks ?? []) {
    if (hooks.has(hook)) continue
    hooks.add(hook)
    addOptionalHook(instance, hook)
  }
}

/**
 * Stands in for a plugin that was turned off: a route that still asks something of it is refused at boot, because the
 * request would silently have no effect. `isHarmless` tells which inputs ask for nothing.
 */
export function turnOff (app: FastifyInstance, key: string, isHarmless: (input: unknown) => boolean): void {
  addSection(app, {
    key,
    off: true,
    resolve (_base, input, where, problems) {
      if (input !== false && !isHarmless(input)) {
        problems.push({
          path: where,
          message: `The plugin "${key}" is turned off, so this would have no effect.`,
          fix: `Turn it on (\`${key}\` in the definition), or remove this key.`,
        })
      }
      return false
    },
    compile: () => [],
  }, false)
}

/** Changes the base policies of this instance and its children; `input` has the shape of a route's `security` key. */
export function overrideScope (app: FastifyInstance, input: unknown, where: string): void {
  const scope = ownScope(app) ?? openScope(app)
  scope.addOverride(input, where)
}

/** Publishes a member of `app.security`; each has one owner. */
export function publish<K extends keyof SecurityApi> (scope: SecurityScope, name: K, value: SecurityApi[K]): void {
  Object.defineProperty(scope.root.api, name, { value, enumerable: true })
}

/** `GET|HEAD /users/:id`, as problems and the posture report name a route. */
export function routeInfo (route: RouteOptions): RouteInfo {
  const method = Array.isArray(route.method) ? route.method.join('|') : route.method
  return {
    method,
    url: route.url,
    label: `${method} ${route.url}`,
    schema: (route.schema ?? {}) as Readonly<Record<string, unknown>>,
  }
}

/** One key of a route's policy as it stands now; it is final once every plugin is loaded. */
export function policyOf (app: FastifyInstance, key: string, input: unknown): unknown {
  return resolveKey(securityOf(app).sections, key, input, '', [])
}

/** The policy of a route: what is enforced, once every plugin is loaded; until then what would be. */
export function routePolicy (root: SecurityRoot, record: RouteRecord): ResolvedRouteSecurity {
  if (root.settled) return record.policy
  const sections = sectionsOf(record)
  return resolvePolicy(sections, writtenOf(record, sections), '', [])
}

const WHERE_LOADED = new WeakSet<object>()

/**
 * Marks the `security` object of a route of the suite itself: its keys hold where their plugins are loaded, and are no
 * problem where they are not. Their types come from plugins that a room must not import; their sections check them.
 */
export function whereLoaded (security: Readonly<Record<string, unknown>>): RouteSecurityOptions {
  WHERE_LOADED.add(security)
  return security
}

const ROOTS = new WeakMap<FastifyInstance, SecurityRoot>()

function openScope (app: FastifyInstance): SecurityScope {
  const top = rootOf(app)
  const root = ROOTS.get(top) ?? installRoot(top)
  const isCovered = findScope(app) !== null
  const scope = new SecurityScope(root, app)
  root.scopes.push(scope)
  setScope(app, scope)
  if (!isCovered) watchRoutes(app, root)
  return scope
}

function installRoot (top: FastifyInstance): SecurityRoot {
  // Empty until the plugins publish their members: without a plugin its member is absent at runtime.
  const api = {} as SecurityApi
  const root: SecurityRoot = {
    instance: top,
    problems: [],
    scopes: [],
    routes: [],
    readyChecks: [],
    earlyRoutes: new Set(),
    hooks: new Set(),
    compiled: new WeakMap(),
    api,
    settled: false,
    strict: false,
    production: isProduction(),
    config: hasConfig(top) ? top.config : {},
    emit: () => {},
  }
  ROOTS.set(top, root)
  top.decorate('security', api)
  top.addHook('onReady', function bulwarkBootCheck (done) {
    try {
      checkBeforeListening(root)
      done()
    } catch (error) {
      done(error as Error)
    }
  })
  addPipelineHooks(top, createHandlerTimeouts(top))
  return root
}

function hasConfig (app: FastifyInstance): app is FastifyInstance & { config: Readonly<Record<string, unknown>> } {
  const config: unknown = (app as { config?: unknown }).config
  return typeof config === 'object' && config !== null
}

/** From now on `onRoute` sees the routes of this instance and of its later children; the earlier ones it never saw. */
function watchRoutes (app: FastifyInstance, root: SecurityRoot): void {
  const seen = new Set(root.routes.map(({ info }) => info.url))
  const own = isRootInstance(app) ? '' : app.prefix
  for (const route of declaredRoutes(root.instance)) {
    const url = route.slice(route.indexOf(' ') + 1)
    // Without a prefix the routes of a child scope cannot be told from its neighbours'; the pipeline refuses them.
    const isBelow = isRootInstance(app) || (own !== '' && (url === own || url.startsWith(`${own}/`)))
    if (isBelow && !seen.has(url)) root.earlyRoutes.add(route)
  }
  app.addHook('onRoute', function bulwarkOnRoute (this: FastifyInstance, route: RouteOptions) {
    recordRoute(root, this, route)
  })
}

function recordRoute (root: SecurityRoot, instance: FastifyInstance, route: RouteOptions): void {
  const policy = {}
  root.routes.push({
    info: routeInfo(route),
    instance,
    input: route.security,
    policy,
    constraints: route.constraints ?? {},
    foreignKeys: foreignKeysOf(route),
  })
  route.config = { ...route.config, security: policy }
}

/** Resolves and compiles every policy. To be called when every plugin is loaded; it does its work once. */
export function settlePolicies (root: SecurityRoot): void {
  if (root.settled) return
  root.settled = true
  const { problems } = root
  for (const scope of root.scopes) scope.settle(problems)
  for (const record of root.routes) settleRoute(root, record)
}

/** Throws everything that is wrong as one error. */
function checkBeforeListening (root: SecurityRoot): void {
  settlePolicies(root)
  const { problems } = root
  for (const route of root.earlyRoutes) {
    problems.push({
      path: route,
      message: 'Declared before the suite was loaded, so its `security` key was not read.',
      fix: 'Declare it after `await app.register(...)`, or in a plugin that is registered after it.',
    })
  }
  for (const check of root.readyChecks) check(problems)
  for (const record of root.routes) {
    checkForeignKeys(record, problems)
    const sections = sectionsOf(record)
    checkKeys(sections, writtenOf(record, sections), `${record.info.label} security`, problems)
  }
  assertNoProblems(withoutRepeats(problems))
}

function settleRoute (root: SecurityRoot, record: RouteRecord): void {
  const sections = sectionsOf(record)
  resolveInto(record.policy, sections, writtenOf(record, sections), `${record.info.label} security`, root.problems)
  root.compiled.set(record.policy, compilePolicy(sections, record.policy, record.info, root.problems))
}

/** What holds on a route is decided by the nearest scope of the instance that declared it. */
function sectionsOf ({ instance }: RouteRecord): SecurityScope['sections'] {
  return securityOf(instance).sections
}

function writtenOf ({ input }: RouteRecord, sections: SecurityScope['sections']): unknown {
  if (typeof input !== 'object' || input === null || !WHERE_LOADED.has(input)) return input
  return Object.fromEntries(Object.entries(input).filter(([key]) => isLoaded(sections.get(key))))
}

function isLoaded (bound: BoundSection | undefined): boolean {
  return bound !== undefined && bound.section.off !== true
}

/** The automatic HEAD route and a prefix's second URL repeat the problems of their GET. */
function withoutRepeats (problems: readonly Problem[]): Problem[] {
  const seen = new Set<string>()
  return problems.filter(({ path, message }) => {
    const key = `${path.replace(/^HEAD /, 'GET ')}\n${message}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}

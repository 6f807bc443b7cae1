import type { FastifyInstance, RouteOptions } from 'fastify'
import { isProduction } from '../env/is-production.js'
import { assertNoProblems, type Problem } from '../response/errors.js'
import { installHandlerTimeouts } from '../response/handler-timeouts.js'
import { checkKeys, compilePolicy, resolvePolicy } from './compile.js'
import { declaredRoutes, isRootInstance } from './early-routes.js'
import { addOptionalHook, addPipelineHooks } from './pipeline.js'
import type { PolicySection, RouteInfo } from './section.js'
import { findScope, ownScope, SecurityScope, setScope, type SecurityRoot } from './scope.js'
import type { SecurityApi } from './types.js'

/**
 * The security scope that holds on this instance. The first plugin of the suite to ask for it installs the pipeline:
 * `onRoute` compiles each route's policy, instance hooks run it, `onReady` throws all problems as one error.
 */
export function securityOf (app: FastifyInstance): SecurityScope {
  return findScope(app) ?? installRoot(app)
}

/** Throws when `key` is registered twice in the same scope; a child scope may register again. */
export function claimRegistration (app: FastifyInstance, key: string): void {
  const own = ownScope(app)
  if (own?.registered.has(key) === true) {
    assertNoProblems([{
      path: key,
      message: 'Registered twice in the same scope.',
      fix: 'Register it once, and override in a child scope (app.secureScope) or on a route (its `security` key).',
    }])
  }
  const scope = own ?? childScope(app, securityOf(app))
  scope.registered.add(key)
}

/**
 * Gives the scope a section with its base policy. Routes that were declared earlier get the base policy too, so that
 * a plugin registered late leaves none of them without it.
 */
export function addSection (app: FastifyInstance, section: PolicySection, base: unknown): void {
  const scope = ownScope(app) ?? childScope(app, securityOf(app))
  scope.setSection(section, base)
  const { root } = scope
  for (const hook of section.hooks ?? []) {
    if (root.hooks.has(hook)) continue
    root.hooks.add(hook)
    addOptionalHook(root.instance, hook)
  }
  for (const record of root.routes) {
    if (!isWithin(record.scope, scope)) continue
    if (record.scope !== scope && !record.scope.sections.has(section.key)) record.scope.setSection(section, base)
    // From what is enforced now: an earlier late section must not be lost.
    const policy = {
      ...root.compiled.get(record.policy)?.policy ?? record.policy,
      [section.key]: record.scope.sections.get(section.key)?.base,
    }
    root.compiled.set(record.policy, compilePolicy(record.scope.sections, policy, record.info, root.problems))
  }
}

/** Changes the base policy of one section in this scope, before any route was declared. */
export function setBase (app: FastifyInstance, key: string, input: unknown, where: string): void {
  const scope = securityOf(app)
  const bound = scope.sections.get(key)
  if (bound !== undefined)
    {scope.setSection(bound.section, bound.section.resolve(bound.base, input, where, scope.root.problems))}
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

/** Changes the policy bases of one scope and its children; `input` has the shape of a route's `security` key. */
export function overrideScope (app: FastifyInstance, input: unknown, where: string): void {
  const parent = securityOf(app)
  const { problems } = parent.root
  const scope = ownScope(app) ?? childScope(app, parent)
  if (scope.firstRoute !== null) {
    problems.push({
      path: where,
      message: `The route ${scope.firstRoute} was declared before this override and would escape it.`,
      fix: 'Override the scope before its first route.',
    })
  }
  checkKeys(scope.sections, input, where, problems)
  const resolved = resolvePolicy(scope.sections, input, where, problems) as Record<string, unknown>
  for (const [key, { section }] of scope.sections) scope.setSection(section, resolved[key])
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

function installRoot (app: FastifyInstance): SecurityScope {
  const handlerTimeouts = installHandlerTimeouts(app)
  // Empty until the plugins publish their members: without a plugin its member is absent at runtime.
  const api = {} as SecurityApi
  const root: SecurityRoot = {
    instance: app,
    problems: [],
    routes: [],
    readyChecks: [],
    earlyRoutes: [],
    hooks: new Set(),
    compiled: new WeakMap(),
    api,
    handlerTimeouts,
    strict: false,
    production: isProduction(),
    config: hasConfig(app) ? app.config : {},
    emit: () => {},
  }
  const scope = new SecurityScope(root, new Map())
  setScope(app, scope)
  app.decorate('security', api)
  if (isRootInstance(app)) reportEarlyRoutes(app, root)
  app.addHook('onRoute', compileOnRoute)
  app.addHook('onReady', function bulwarkBootCheck (done) {
    try {
      checkBeforeListening(root)
      done()
    } catch (error) {
      done(error as Error)
    }
  })
  addPipelineHooks(app)
  return scope
}

function hasConfig (app: FastifyInstance): app is FastifyInstance & { config: Readonly<Record<string, unknown>> } {
  const config: unknown = (app as { config?: unknown }).config
  return typeof config === 'object' && config !== null
}

function childScope (app: FastifyInstance, parent: SecurityScope): SecurityScope {
  const scope = new SecurityScope(parent.root, parent.sections)
  scope.parent = parent
  setScope(app, scope)
  return scope
}

function isWithin (scope: SecurityScope, ancestor: SecurityScope): boolean {
  for (let at: SecurityScope | null = scope; at !== null; at = at.parent) if (at === ancestor) return true
  return false
}

/**
 * Under the umbrella an early route is a boot error (`root.strict`, checked when ready); a single plugin warns once.
 */
function reportEarlyRoutes (app: FastifyInstance, root: SecurityRoot): void {
  root.earlyRoutes = declaredRoutes(app)
  if (root.earlyRoutes.length === 0) return
  app.addHook('onReady', function bulwarkEarlyRoutes (done) {
    if (!root.strict)
      {app.log.warn(
        { routes: root.earlyRoutes },
        'these routes were declared before the security plugins: they get the base policy and no `security` key of their own; declare them after `await app.register(...)`',
      )}
    done()
  })
}

function compileOnRoute (this: FastifyInstance, route: RouteOptions): void {
  const scope = securityOf(this)
  const { root } = scope
  const info = routeInfo(route)
  const where = `${info.label} security`
  const policy = resolvePolicy(scope.sections, route.security, where, root.problems)
  route.config = { ...route.config, security: policy }
  root.compiled.set(policy, compilePolicy(scope.sections, policy, info, root.problems))
  root.routes.push({ info, scope, input: route.security, policy, constraints: (route.constraints ?? {}) })
  const own = ownScope(this)
  if (own !== null) own.firstRoute ??= info.label
}

function checkBeforeListening (root: SecurityRoot): void {
  const problems: Problem[] = [...root.problems]
  if (root.strict) {
    for (const route of root.earlyRoutes) {
      problems.push({
        path: route,
        message: 'This route was declared before the suite was loaded, so no policy protects it.',
        fix: 'Declare it after `await app.register(bulwark, ...)`, or in a plugin that is registered after it.',
      })
    }
  }
  for (const check of root.readyChecks) check(problems)
  for (const { info, scope, input } of root.routes) checkKeys(scope.sections, input, `${info.label} security`, problems)
  assertNoProblems(withoutRepeats(problems))
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

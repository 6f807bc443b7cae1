import type { FastifyInstance } from 'fastify'
import { refusal, type Problem } from '../response/errors.js'
import { isPlainObject } from '../options/check-options.js'
import { compilePolicy, resolvePolicy } from '../policy/compile.js'
import type { RouteRecord, SecurityRoot } from '../policy/scope.js'
import type { RouteSecurityOptions } from '../policy/types.js'
import { readCspReport, readReports } from './reports.js'

const BODY_LIMIT = 16 * 1024

const CSP_REPORT = 'application/csp-report'
const REPORTS = 'application/reports+json'

/** Nothing, until all plugins are known; this very object tells the route's record from others. */
const SECURITY: RouteSecurityOptions = Object.freeze({})

const WHY_PUBLIC = 'Browsers send violation reports without credentials.'

/**
 * Declares `POST path` in a scope of its own, so that no other route starts to accept these media types. One
 * `csp_violation` event for each report; a malformed body is a 400 without any.
 */
export function declareReportEndpoint (scope: FastifyInstance, root: SecurityRoot, path: string): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser(
    [CSP_REPORT, REPORTS],
    { parseAs: 'string', bodyLimit: BODY_LIMIT },
    scope.getDefaultJsonParser('error', 'error'),
  )
  scope.route({
    method: 'POST',
    url: path,
    bodyLimit: BODY_LIMIT,
    security: SECURITY,
    schema: { response: { 204: { type: 'null' } } },
    handler: async function receiveReports (request, reply) {
      const violations = request.mediaType === CSP_REPORT ? readCspReport(request.body) : readReports(request.body)
      if (violations === null) throw refusal('BAD_REQUEST')
      for (const violation of violations) root.emit({ name: 'csp_violation', ...violation }, request)
      return reply.code(204).send()
    },
  })
  const at = root.routes.findIndex(({ input }) => input === SECURITY)
  const [record] = at === -1 ? [] : root.routes.splice(at, 1)
  if (record !== undefined) root.readyChecks.push((problems) => { openToBrowsers(root, record, problems) })
}

/**
 * Gives the route its policy once every plugin is loaded, because most of them are after this one: nobody signs in to
 * report, and a report is no request that a page forges. It has a rate limit of its own; the scope's hosts hold. Until
 * then the record is held back, so that no plugin in between compiles it as an ordinary route.
 */
function openToBrowsers (root: SecurityRoot, record: RouteRecord, problems: Problem[]): void {
  root.routes.push(record)
  const { scope } = record
  const { sections } = scope
  const written = {
    ...(scope.isOn('csrf') && { csrf: false }),
    ...(scope.isOn('rateLimit') && { rateLimit: { only: ['reports'] } }),
  }
  const policy = resolvePolicy(sections, written, `${record.info.label} security`, problems)
  const { auth } = policy
  // The resolved form, because what `publicRoute` makes belongs to another plugin. False: that plugin is turned off.
  const opened = auth !== undefined && isPlainObject(auth)
    ? {
      ...policy,
      auth: Object.freeze({
        ...auth,
        access: 'public' as const,
        why: WHY_PUBLIC,
        roles: Object.freeze([]),
        freshSeconds: null,
      }),
    }
    : policy
  root.compiled.set(record.policy, compilePolicy(sections, Object.freeze(opened), record.info, problems))
}

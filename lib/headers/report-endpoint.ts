import type { FastifyInstance } from 'fastify'
import { refusal } from '../response/errors.js'
import { whereLoaded } from '../policy/install.js'
import { publicRoute } from '../policy/public-route.js'
import type { SecurityRoot } from '../policy/scope.js'
import { readCspReport, readReports } from './reports.js'

const BODY_LIMIT = 16 * 1024

const CSP_REPORT = 'application/csp-report'
const REPORTS = 'application/reports+json'

/** A report is no request that a page forges, and it has a rate limit of its own. */
const SECURITY = {
  auth: publicRoute('Browsers send violation reports without credentials.'),
  csrf: false,
  rateLimit: { only: ['reports'] },
  validation: { contentTypes: [CSP_REPORT, REPORTS] },
}

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
    security: whereLoaded({ ...SECURITY }),
    schema: { response: { 204: { type: 'null' } } },
    handler: async function receiveReports (request, reply) {
      const violations = request.mediaType === CSP_REPORT ? readCspReport(request.body) : readReports(request.body)
      if (violations === null) throw refusal('BAD_REQUEST')
      for (const violation of violations) root.emit({ name: 'csp_violation', ...violation }, request)
      return reply.code(204).send()
    },
  })
}

import type { Problem } from '../response/errors.js'
import type { Directives } from '../policy/merge.js'

/** Where browsers send what a policy was violated by. */
export interface Reporting {
  /** A path of this service, or an absolute https URL. */
  readonly endpoint: string
  /** The name that `Reporting-Endpoints` and `report-to` share. */
  readonly group: string
}

export interface ReportingInput { readonly endpoint: string, readonly group?: string }

const DEFAULT_GROUP = 'csp'

/** A key of a structured field (RFC 9651, section 3.2), which is what a group is in `Reporting-Endpoints`. */
const GROUP = /^[a-z][a-z0-9_-]{0,63}$/

/** Plain segments only: the same text is a route, a directive's value and a quoted string. */
const PATH = /^(?:\/[A-Za-z0-9._~-]+)+$/

/**
 * Resolves `reporting`. `ownPath` is the path that the plugin receives reports at: null when nothing receives them,
 * undefined while that is still to be decided by this very input.
 */
export function resolveReporting (
  base: Reporting | null,
  input: ReportingInput | false | undefined,
  ownPath: string | null | undefined,
  where: string,
  problems: Problem[],
): Reporting | null {
  if (input === undefined) return base
  if (input === false) return null
  const { endpoint, group = DEFAULT_GROUP } = input
  if (!GROUP.test(group)) {
    problems.push({
      path: `${where}.reporting.group`,
      message: 'Not a name of a group.',
      fix: 'Begin with a lower-case letter, and go on with these, digits, - and _.',
    })
  }
  if (!isPath(endpoint)) {
    if (!isHttpsUrl(endpoint)) {
      problems.push({
        path: `${where}.reporting.endpoint`,
        message: 'Neither a path nor an https URL.',
        fix:
          'Write a path of this service without parameters, for example ' +
          '/reports/csp, or an absolute https URL without credentials.',
      })
    }
  } else if (ownPath !== undefined && endpoint !== ownPath) {
    problems.push({
      path: `${where}.reporting.endpoint`,
      message: 'Nothing receives reports at this path.',
      fix:
        'Write the path where the plugin is registered on the root instance ' +
        '(`headers.reporting` in the definition), or an absolute https URL.',
    })
  }
  return Object.freeze({ endpoint, group })
}

export function isPath (endpoint: string): boolean {
  return PATH.test(endpoint) && !endpoint.split('/').some((segment) => segment === '.' || segment === '..')
}

/** Characters that would end the value in one of the two headers it goes into. */
const ENDS_A_VALUE = /[\s;,"\\]/

function isHttpsUrl (endpoint: string): boolean {
  if (ENDS_A_VALUE.test(endpoint) || !URL.canParse(endpoint)) return false
  const { protocol, username, password } = new URL(endpoint)
  return protocol === 'https:' && /^https:\/\//i.test(endpoint) && username === '' && password === ''
}

/**
 * Names the endpoint in a policy, unless the policy names one itself. `report-uri` is for browsers without `report-to`.
 */
export function withReporting (csp: Directives, { endpoint, group }: Reporting): Directives {
  return { ...csp, 'report-uri': csp['report-uri'] ?? [endpoint], 'report-to': csp['report-to'] ?? [group] }
}

/** The `Reporting-Endpoints` field (Reporting API, section 3.2). */
export function renderEndpoints ({ endpoint, group }: Reporting): string {
  return `${group}="${endpoint}"`
}

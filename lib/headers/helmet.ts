import helmet, { type HelmetOptions } from 'helmet'
import type { IncomingMessage, ServerResponse } from 'node:http'

export type HeaderBlock = Readonly<Record<string, string>>

type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void

/**
 * What one of helmet's middlewares sets, by lower-case name: it runs once against a recorder.
 * @throws Error of helmet when a value is not valid for its header
 */
export function headersOf (middleware: Middleware): Record<string, string> {
  const block: Record<string, string> = {}
  const recorder = {
    setHeader (name: string, value: string): void { block[name.toLowerCase()] = value },
    removeHeader (): void {},
  }
  middleware({} as IncomingMessage, recorder as unknown as ServerResponse, (error) => {
    if (error !== undefined) throw error as Error
  })
  return block
}

/** helmet's older names of its options. */
const ALIASES: Readonly<Record<string, string>> = {
  hsts: 'strictTransportSecurity',
  noSniff: 'xContentTypeOptions',
  dnsPrefetchControl: 'xDnsPrefetchControl',
  ieNoOpen: 'xDownloadOptions',
  frameguard: 'xFrameOptions',
  permittedCrossDomainPolicies: 'xPermittedCrossDomainPolicies',
  hidePoweredBy: 'xPoweredBy',
  xssFilter: 'xXssProtection',
}

const NAMES = [
  'contentSecurityPolicy',
  'crossOriginEmbedderPolicy',
  'crossOriginOpenerPolicy',
  'crossOriginResourcePolicy',
  'originAgentCluster',
  'referrerPolicy',
  ...Object.values(ALIASES),
]

/**
 * The headers of the options that are written, by lower-case name, without those of helmet's defaults.
 * @throws Error of helmet when a value is not valid for its header
 */
export function renderWritten (options: HelmetOptions): Record<string, string> {
  const written = new Set(Object.keys(options).map((name) => ALIASES[name] ?? name))
  const others = Object.fromEntries(NAMES.filter((name) => !written.has(name)).map((name) => [name, false]))
  return headersOf(helmet({ ...others, ...options }))
}

/** The lower-case names of the headers that the options are about, set or dropped. */
export function namesOf (options: HelmetOptions): readonly string[] {
  return Object.keys(options).flatMap((name) => Object.keys(renderWritten({ [name]: true })))
}

/**
 * True unless NODE_ENV is absent, empty, `development` or `test`. An unknown name (`prod`, `staging`) counts as
 * production, so that a typo makes the service stricter and never laxer.
 */
export function isProduction (env: Readonly<Record<string, unknown>> = process.env): boolean {
  const mode = env['NODE_ENV']
  return !(mode === undefined || mode === '' || mode === 'development' || mode === 'test')
}

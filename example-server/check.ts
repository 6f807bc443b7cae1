import { randomBytes } from 'node:crypto'
import { BulwarkConfigError, serverOptions, type Problem } from 'fastify-bulwark'
import { readConfig, type Config } from './env.js'
import { defineExampleSecurity } from './security.js'

/** What passes for a variable that is missing or wrong while the rest is checked; no server ever runs with one. */
const STAND_INS: Readonly<Record<string, () => string>> = {
  DATABASE_URL: () => 'postgres://stand-in.invalid',
  REDIS_URL: () => 'redis://stand-in.invalid',
  PUBLIC_ORIGIN: () => 'https://stand-in.invalid',
  ALLOWED_HOSTS: () => 'stand-in.invalid',
  TRUSTED_PROXIES: () => 'none',
  JWT_ACCESS_SECRET: () => randomBytes(32).toString('base64url'),
  JWT_REFRESH_SECRET: () => randomBytes(32).toString('base64url'),
}

/**
 * The configuration, checked together with the security that is defined by it: who starts the service sees
 * everything that is wrong at once, before a database is opened.
 * @throws BulwarkConfigError
 */
export function readCheckedConfig (): Config {
  let config: Config
  try {
    config = readConfig()
  } catch (error) {
    if (!(error instanceof BulwarkConfigError)) throw error
    throw new BulwarkConfigError([...error.problems, ...problemsOfTheRest(error.problems)])
  }
  checkDefinition(config)
  return config
}

/** What is wrong with the definition that the variables give which can be read. */
function problemsOfTheRest (problems: readonly Problem[]): readonly Problem[] {
  const source: Record<string, string | undefined> = { ...process.env }
  for (const { path } of problems) {
    const name = path.replace(/^env\.(\w+).*$/, '$1')
    source[name] = STAND_INS[name]?.()
    source[`${name}_FILE`] = undefined
  }
  return problemsOf(() => { checkDefinition(readConfig(source)) })
}

function checkDefinition (config: Config): void {
  serverOptions(defineExampleSecurity(config, () => {
    throw new Error('No user signs in while the definition is checked.')
  }))
}

function problemsOf (check: () => void): readonly Problem[] {
  try {
    check()
    return []
  } catch (error) {
    if (error instanceof BulwarkConfigError) return error.problems
    throw error
  }
}

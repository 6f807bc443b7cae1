import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { SecretSourceError, type SourceProblem } from './source.js'
import { isLoopbackName } from '../net/host.js'
import { checkOptions } from '../options/check-options.js'
import type { Problem } from '../response/errors.js'

/** Which key of the source holds a variable, where it is not the variable's own name. */
export const KeysSchema = Type.Optional(Type.Record(Type.String(), Type.String({ minLength: 1 }), {
  description:
    'The key of a variable where it has another name at the source: ' +
    "{ JWT_ACCESS_SECRET: 'jwt-access' }. Default: the same name.",
}))

type Keys = Readonly<Record<string, string>> | undefined

/** The key that holds a variable. */
export function keyOf (keys: Keys, name: string): string {
  return keys !== undefined && Object.hasOwn(keys, name) ? keys[name] ?? name : name
}

/** The texts that an object of a source holds for these names; null counts as absent. */
export function textsOf (
  data: Readonly<Record<string, unknown>>,
  names: readonly string[],
  keys: Keys,
): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const name of names) {
    const key = keyOf(keys, name)
    const value: unknown = Object.hasOwn(data, key) ? data[key] : undefined
    if (value === undefined || value === null) continue
    if (typeof value !== 'string') {
      throw new SecretSourceError({ message: `The key of ${name} is not text.`, fix: 'Store it as a string.' })
    }
    texts[name] = value
  }
  return texts
}

/**
 * Checks a source's options. What is wrong is kept for the source's `load`, so that a start lists it beside everything
 * else.
 */
export function checkSourceOptions<S extends TSchema> (
  schema: S,
  input: unknown,
  name: string,
): { readonly options: Static<S> | null, readonly problems: SourceProblem[] } {
  const problems: Problem[] = []
  const options = checkOptions(schema, input, name, problems)
  return { options, problems: problems.map(({ path, message, fix }) => ({ message: `${path}: ${message}`, fix })) }
}

/** What is wrong with the address of a server that is trusted with secrets; null when nothing is. */
export function addressProblem (address: string, option: string, unsafeHttp: boolean): SourceProblem | null {
  const url = URL.canParse(address) ? new URL(address) : null
  if (
    url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '' ||
    url.search !== '' || url.hash !== ''
  ) {
    return {
      message: `${option}: Not the URL of a server.`,
      fix: 'Write https://vault.example.com:8200, without credentials and query.',
    }
  }
  if (url.protocol === 'https:' || isLoopbackName(url.hostname) || unsafeHttp) return null
  return {
    message: `${option}: Plain HTTP shows the secrets to everyone on the network path.`,
    fix: 'Write an https:// address, or unsafeHttp: true where the network itself encrypts.',
  }
}

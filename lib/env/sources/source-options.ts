import { Type } from '@sinclair/typebox'
import type { SourceProblem } from '../secret-source.js'
import { checkOptions } from '../../options/check-options.js'
import type { Problem } from '../../response/errors.js'
import { isLoopbackName } from '../../net/host.js'
import type { Static, TSchema } from '@sinclair/typebox'

/** Which key of the source holds a variable, where it is not the variable's own name. */
export const KeysSchema = Type.Optional(Type.Record(Type.String(), Type.String({ minLength: 1 }), {
  description:
    "The key of a variable where it has another name at the source: { JWT_ACCESS_SECRET: 'jwt-access' }. Default: the same name.",
}))

/** The key that holds a variable. */
export function keyOf (keys: Readonly<Record<string, string>> | undefined, name: string): string {
  return keys !== undefined && Object.hasOwn(keys, name) ? keys[name] ?? name : name
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
    message: `${option}: Over plain HTTP everybody on the way reads the secrets.`,
    fix: 'Write an https:// address, or unsafeHttp: true where the network itself encrypts.',
  }
}

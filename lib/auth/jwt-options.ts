import { isPlainObject } from '../options/check-options.js'

export type JwtCallback = (error: unknown, value?: unknown) => void

/** `(options?, callback?)` or `(callback)`. */
export function splitCallback (
  args: readonly unknown[],
): { readonly options: unknown, readonly callback: JwtCallback | null } {
  const [first, second] = args
  if (typeof first === 'function') return { options: undefined, callback: first as JwtCallback }
  return { options: first, callback: typeof second === 'function' ? second as JwtCallback : null }
}

/** Flat or as `{ verify }`. @throws TypeError for whatever else @fastify/jwt takes. */
export function readVerifyOptions (where: string, input: unknown): { readonly onlyCookie: boolean } {
  const written = membersOf(where, input)
  const nested = 'verify' in written || 'decode' in written
  if (!nested) return { onlyCookie: flag(where, known(where, written, ['onlyCookie'])['onlyCookie']) }
  return readDecodeOptions(where, written)
}

/** As `{ decode, verify }`. */
export function readDecodeOptions (
  where: string,
  input: unknown,
): { readonly onlyCookie: boolean, readonly complete: boolean } {
  const { verify, decode } = known(where, membersOf(where, input), ['verify', 'decode'])
  return {
    onlyCookie: flag(where, known(where, membersOf(where, verify), ['onlyCookie'])['onlyCookie']),
    complete: flag(where, known(where, membersOf(where, decode), ['complete'])['complete']),
  }
}

/** Flat or as `{ sign }`. */
export function readSignOptions (where: string, input: unknown): Readonly<Record<string, unknown>> {
  const written = membersOf(where, input)
  return known(where, 'sign' in written ? membersOf(where, known(where, written, ['sign'])['sign']) : written, [
    'expiresIn',
    'sub',
    'jti',
  ])
}

/** Without the undefined ones. */
function membersOf (where: string, input: unknown): Record<string, unknown> {
  if (input === undefined || input === null) return {}
  if (!isPlainObject(input)) throw new TypeError(`${where}: the options are not an object.`)
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined))
}

/** An option that would be ignored is refused: who writes `allowedAud` relies on it. */
function known (where: string, members: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  for (const name of Object.keys(members)) {
    if (!names.includes(name))
      {throw new TypeError(`${where}: the option "${name}" is not supported; here: ${names.join(', ')}.`)}
  }
  return members
}

function flag (where: string, value: unknown): boolean {
  if (value === undefined) return false
  if (typeof value !== 'boolean') throw new TypeError(`${where}: an option is not a boolean.`)
  return value
}

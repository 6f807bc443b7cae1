/** Authentication method references (RFC 8176): what a sign-in was proved with, for example `pwd`, `otp`, `hwk`. */
export const MAX_METHODS = 4
export const MAX_METHOD_LENGTH = 16

const METHOD = /^[A-Za-z0-9._:-]{1,16}$/

export function areMethods (value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= MAX_METHODS &&
    value.every((method) => typeof method === 'string' && METHOD.test(method))
}

/** @throws TypeError for what no token could carry. */
export function assertMethods (methods: unknown): void {
  if (!areMethods(methods)) {
    throw new TypeError(
      `auth: methods is a list of up to ${MAX_METHODS} names (RFC 8176) of up to ` +
      `${MAX_METHOD_LENGTH} characters each, for example ['pwd', 'otp']`,
    )
  }
}

const MAX_LABEL_LENGTH = 256

/**
 * Text of a client, made fit to be shown: one line, no control characters, no marks that turn or hide text, bounded.
 * @throws TypeError for what an app in JavaScript may give instead: a number, the promise of a text
 */
export function deviceLabel (text: unknown): string {
  if (text !== undefined && typeof text !== 'string') {
    throw new TypeError('auth: the label of a device is not a text. The option `label` is synchronous.')
  }
  const line = (text ?? '').replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  // A cut within a surrogate pair leaves a half, which is no character.
  return line.slice(0, MAX_LABEL_LENGTH).replace(/\p{Cs}$/u, '')
}

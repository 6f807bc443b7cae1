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
  if (!areMethods(methods))
    {throw new TypeError(
      `auth: methods is a list of up to ${MAX_METHODS} names (RFC 8176) of up to ${MAX_METHOD_LENGTH} characters each, for example ['pwd', 'otp']`,
    )}
}

const MAX_LABEL_LENGTH = 256

/**
 * Text of a client, made fit to be shown: one line, no control characters, no marks that turn or hide text, bounded.
 * @throws TypeError for what an app in JavaScript may give instead: a number, the promise of a text
 */
export function deviceLabel (text: unknown): string {
  if (text !== undefined && typeof text !== 'string')
    {throw new TypeError('auth: the label of a device is not a text. The option `label` is synchronous.')}
  const line = (text ?? '').replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  // A cut within a surrogate pair leaves a half, which is no character.
  return line.slice(0, MAX_LABEL_LENGTH).replace(/\p{Cs}$/u, '')
}

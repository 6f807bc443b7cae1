const MAX_LABEL_LENGTH = 256

/** Text of a client, made fit to be shown: one line, no control characters, no marks that turn or hide text, bounded. */
export function deviceLabel (text: string | undefined): string {
  const line = (text ?? '').replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  // A cut within a surrogate pair leaves a half, which is no character.
  return line.slice(0, MAX_LABEL_LENGTH).replace(/\p{Cs}$/u, '')
}

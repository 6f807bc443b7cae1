import { randomUUID } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface Message {
  /** An address that the suite has validated: it holds no line break. */
  readonly to: string
  readonly subject: string
  readonly lines: readonly string[]
}

/** Hands messages over for delivery. */
export interface Mail { send (message: Message): Promise<void> }

/**
 * A pickup directory, from which the mail server of the host takes what it delivers. Each message appears there whole,
 * readable by the owner only: it holds a token.
 */
export function createPickup (directory: string, from: string): Mail {
  return {
    async send ({ to, subject, lines }) {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const name = randomUUID()
      const text = [
        `From: ${from}`,
        `To: ${to}`,
        `Subject: ${subject}`,
        `Date: ${new Date().toUTCString()}`,
        'MIME-Version: 1.0',
        'Content-Type: text/plain; charset=utf-8',
        '',
        ...lines,
        '',
      ].join('\r\n')
      const half = join(directory, `.${name}`)
      await writeFile(half, text, { mode: 0o600, flag: 'wx' })
      await rename(half, join(directory, `${name}.eml`))
    },
  }
}

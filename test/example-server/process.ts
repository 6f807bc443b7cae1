import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { CookieJar, emptyData, workingDirectory } from './helpers.js'

const PROGRAMS = join(import.meta.dirname, '..', '..', 'example-server')

/** Where a server can run: with an empty database, and without the `.env` of a developer. */
export async function serverDirectory (t: Test): Promise<string> {
  const directory = workingDirectory(t)
  await emptyData(join(directory, '.data', 'pglite'))
  return directory
}

/**
 * A program of the example in a process of its own, with these variables and no others.
 * `file`: below dist/example-server, or an absolute path.
 */
export class Program {
  stdout = ''
  stderr = ''
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>

  constructor (
    t: Test,
    file: string,
    { cwd, env, args = [] }: { cwd: string, env: Readonly<Record<string, string>>, args?: readonly string[] },
  ) {
    this.#child = spawn(process.execPath, [resolve(PROGRAMS, file), ...args], {
      cwd,
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.#ended = once(this.#child, 'close')
    t.teardown(() => this.#child.kill('SIGKILL'))
  }

  get pid (): number {
    return this.#child.pid ?? 0
  }

  /** Waits until stdout matches, at most a minute. */
  async until (pattern: RegExp): Promise<RegExpExecArray> {
    for (let i = 0; i < 2400; i++) {
      const match = pattern.exec(this.stdout)
      if (match !== null) return match
      if (this.#child.exitCode !== null) break
      await sleep(25)
    }
    throw new Error(`no ${String(pattern)} in the output:\n${this.stdout}\n${this.stderr}`)
  }

  /** The address that the server printed. */
  async listening (): Promise<string> {
    return (await this.until(/^fastify-bulwark example listening on (http:\/\/127\.0\.0\.1:\d+)$/m))[1] ?? ''
  }

  /** The exit code; null when a signal ended the process. */
  async end (signal?: NodeJS.Signals): Promise<number | null> {
    if (signal !== undefined) this.#child.kill(signal)
    await this.#ended
    return this.#child.exitCode
  }

  /** The log, one object a line. */
  log (): Record<string, unknown>[] {
    return this.stdout.split('\n').filter((line) => line.startsWith('{')).map((line) =>
      JSON.parse(line) as Record<string, unknown>
    )
  }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: unknown
}

/** A client over a real socket, with its cookies. */
export class Client {
  readonly jar = new CookieJar()
  readonly #origin: string

  constructor (origin: string) {
    this.#origin = origin
  }

  async send (method: string, path: string, body?: unknown): Promise<Answer> {
    const cookie = this.jar.header(path)
    const res = await fetch(this.#origin + path, {
      method,
      headers: {
        origin: this.#origin,
        ...(cookie !== null && { cookie }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    this.jar.store(res.headers.getSetCookie())
    const text = await res.text()
    return { status: res.status, headers: res.headers, body: text === '' ? null : JSON.parse(text) as unknown }
  }
}

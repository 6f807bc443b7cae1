interface Cookie { readonly value: string, readonly path: string, readonly endsAt: number }

/**
 * The cookies of one visitor on one https origin: what a browser would keep of `Set-Cookie` lines and send back
 * (RFC 6265, section 5, without domains).
 */
export class CookieJar {
  readonly #cookies = new Map<string, Map<string, Cookie>>()
  readonly #now: () => number

  /** @param now epoch milliseconds */
  constructor (now: () => number) {
    this.#now = now
  }

  set (name: string, value: string, path = '/', maxAgeSeconds = Infinity): void {
    const paths = this.#cookies.get(name) ?? new Map<string, Cookie>()
    if (maxAgeSeconds > 0) paths.set(path, { value, path, endsAt: this.#now() + maxAgeSeconds * 1000 })
    else paths.delete(path)
    this.#cookies.set(name, paths)
  }

  /** Takes one `Set-Cookie` line. */
  follow (line: string, requestPath: string): void {
    const [pair = '', ...attributes] = line.split(';')
    const at = pair.indexOf('=')
    if (at === -1) return
    const written = new Map(attributes.map((attribute) => {
      const [name = '', value = ''] = attribute.split(/=(.*)/s)
      return [name.trim().toLowerCase(), value.trim()]
    }))
    const path = written.get('path')
    this.set(
      pair.slice(0, at).trim(),
      pair.slice(at + 1).trim(),
      path?.startsWith('/') === true ? path : defaultPath(requestPath),
      this.#lifeOf(written),
    )
  }

  /** The value that a request of this path carries. */
  get (name: string, path = '/'): string | undefined {
    return this.#at(path).find(([own]) => own === name)?.[1].value
  }

  /** A Cookie header for this path; undefined when there are none. */
  header (path: string): string | undefined {
    const pairs = this.#at(path).map(([name, { value }]) => `${name}=${value}`)
    return pairs.length === 0 ? undefined : pairs.join('; ')
  }

  /** All cookies that have not ended, by name. */
  all (): Readonly<Record<string, string>> {
    const alive = [...this.#cookies].flatMap(([name, paths]) =>
      [...paths.values()].filter((cookie) => this.#isAlive(cookie)).map(({ value }) => [name, value] as const)
    )
    return Object.freeze(Object.fromEntries(alive))
  }

  /** Longer paths first. */
  #at (path: string): (readonly [string, Cookie])[] {
    return [...this.#cookies]
      .flatMap(([name, paths]) => [...paths.values()].map((cookie) => [name, cookie] as const))
      .filter(([, cookie]) => this.#isAlive(cookie) && isWithin(path, cookie.path))
      .sort(([, a], [, b]) => b.path.length - a.path.length)
  }

  #isAlive ({ endsAt }: Cookie): boolean {
    return this.#now() < endsAt
  }

  #lifeOf (attributes: ReadonlyMap<string, string>): number {
    const maxAge = attributes.get('max-age')
    if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) return Number(maxAge)
    const expires = Date.parse(attributes.get('expires') ?? '')
    return Number.isNaN(expires) ? Infinity : (expires - this.#now()) / 1000
  }
}

function defaultPath (requestPath: string): string {
  const end = requestPath.lastIndexOf('/')
  return end <= 0 ? '/' : requestPath.slice(0, end)
}

/** RFC 6265, section 5.1.4. */
function isWithin (path: string, cookiePath: string): boolean {
  return path === cookiePath ||
    (path.startsWith(cookiePath) && (cookiePath.endsWith('/') || path[cookiePath.length] === '/'))
}

import { createRequire } from 'node:module'
import type SanitizeHtml from 'sanitize-html'
import type { IOptions } from 'sanitize-html'

/**
 * `text`: no markup is left, and the result is plain text. `basic`: a little formatting and links are left, and the
 * result is HTML.
 */
export type SanitizeMode = 'text' | 'basic'

/** The value without what its mode does not allow; null for a value that is built to cost time. */
export type Clean = (value: string, mode: SanitizeMode) => string | null

/** The longest value a schema may let in: what one costs at worst is measured at this length. */
export const MAX_SANITIZED_LENGTH = 100_000

export const BASIC_TAGS: readonly string[] = Object.freeze([
  'p', 'br', 'b', 'strong', 'i', 'em', 'u', 's', 'ul', 'ol', 'li', 'blockquote', 'code', 'pre', 'a',
])

/** What a link gets: the page it leads to learns nothing, is not vouched for, and cannot reach back. */
export const LINK_REL = 'noopener noreferrer nofollow'

const LINK_SCHEMES: ReadonlySet<string> = new Set(['http:', 'https:', 'mailto:'])
const MAX_LINK = 2_000

/** Their content is no text for a reader, or is parsed by rules of its own. */
const DROPPED_WITH_CONTENT = [
  'script', 'style', 'textarea', 'option', 'select', 'xmp', 'title', 'noscript', 'noembed', 'noframes', 'iframe',
  'template', 'plaintext', 'svg', 'math', 'object',
]

/** The parser's work for one tag grows with how many are open. */
const MAX_DEPTH = 100

/** Each round takes off one layer: `&amp;lt;b&amp;gt;` needs three, and one more to see that nothing is left. */
const MAX_ROUNDS = 6

/**
 * Control characters besides tab, line feed and carriage return: a reference like `&#27;` would bring them past the
 * schema.
 */
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g

/** A value without any of these is what it will be. */
const TOUCHED: Readonly<Record<SanitizeMode, RegExp>> = {
  text: /[<&\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/,
  basic: /[<>&\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/,
}

/** The three characters that sanitize-html escapes in text, and nothing else. */
const UNESCAPED: Readonly<Record<string, string>> = { '&amp;': '&', '&lt;': '<', '&gt;': '>' }

class TooDeep extends Error {}

/** True when cleaning has to read the value at all. */
export function isTouched (value: string, mode: SanitizeMode): boolean {
  return TOUCHED[mode].test(value)
}

/**
 * Cleans until nothing changes any more, so that cleaning a cleaned value leaves it as it is, and markup that was
 * encoded once more is no way around. Text comes back decoded, because a client of JSON shows text as it is.
 */
export function createClean (sanitize: typeof SanitizeHtml): Clean {
  let depth = 0
  const guard: IOptions = {
    disallowedTagsMode: 'discard',
    nonTextTags: DROPPED_WITH_CONTENT,
    onOpenTag () { if (++depth > MAX_DEPTH) throw new TooDeep() },
    onCloseTag () { depth-- },
  }
  const options: Readonly<Record<SanitizeMode, IOptions>> = {
    text: { ...guard, allowedTags: [], allowedAttributes: {} },
    basic: {
      ...guard,
      allowedTags: [...BASIC_TAGS],
      allowedAttributes: { a: ['href', 'rel'] },
      allowedSchemes: ['http', 'https', 'mailto'],
      allowProtocolRelative: false,
      transformTags: { a: (tagName, { href }) => ({ tagName, attribs: linkAttributes(href) }) },
    },
  }
  return function clean (value, mode) {
    let current = value
    try {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        if (!isTouched(current, mode)) return current
        depth = 0
        const html = sanitize(current.replace(CONTROLS, ''), options[mode])
        const next = mode === 'text' ? textOf(html) : html
        if (next === current) return current
        // Escaping can make it five times as long; no schema would take it then.
        if (next.length > 2 * MAX_SANITIZED_LENGTH) return null
        current = next
      }
    } catch (error) {
      if (!(error instanceof TooDeep)) throw error
    }
    return null
  }
}

function textOf (html: string): string {
  const text = html.replace(/&(?:amp|lt|gt);/g, (reference) => UNESCAPED[reference] ?? reference)
  // To browsers the beginning of a comment, to the parser text.
  return text.replace(/<(?=\/(?![a-z]))/gi, '')
}

/** Only absolute addresses: a relative one would lead into the site that shows the text, to a logout for example. */
function linkAttributes (href: string | undefined): Record<string, string> {
  const url = href !== undefined && href.length <= MAX_LINK && URL.canParse(href) ? new URL(href) : null
  // https://bank.example@evil.example shows one host and leads to another.
  if (url === null || !LINK_SCHEMES.has(url.protocol) || url.username !== '' || url.password !== '') return {}
  return { href: url.href, rel: LINK_REL }
}

/** What went wrong when sanitize-html was loaded. */
export type Unavailable = 'not installed' | 'cannot be loaded'

let loaded: Clean | null = null

/**
 * Loads sanitize-html, an optional peer, the first time a schema asks for it. Synchronous, so that a boot can list it
 * with all other problems.
 */
export function loadClean (): Clean | Unavailable {
  if (loaded !== null) return loaded
  try {
    const module = createRequire(import.meta.url)('sanitize-html') as typeof SanitizeHtml | {
      readonly default: typeof SanitizeHtml
    }
    loaded = createClean(typeof module === 'function' ? module : module.default)
    // What does not clean must not start: another package under this name, or a version that works otherwise.
    if (loaded('<i onclick=x>&amp;</i><img>', 'basic') === '<i>&amp;</i>') return loaded
    loaded = null
    return 'cannot be loaded'
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND'
      ? 'not installed'
      : 'cannot be loaded'
  }
}

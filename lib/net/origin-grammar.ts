/**
 * The small part of the regular expression language that origin patterns may use, so that what they match can be known
 * at boot: literals, `\d`, `\w`, character classes, groups with alternatives, `?` on anything, `*`, `+` and `{n,m}` on
 * one character.
 *
 * A repeat that its follower could also be part of is what makes a matcher try every split; two of those on 255
 * characters are some thousands of steps, and more are refused.
 */
export interface Shape {
  readonly samples: readonly string[]
  /**
   * The same with a dot wherever a class allows one: some are no match, but they show which labels a class can make up.
   */
  readonly dotted: readonly string[]
}

interface Refusal { readonly message: string, readonly fix: string }

class Unsupported extends Error {
  readonly refusal: Refusal
  constructor (message: string, fix: string) {
    super(message)
    this.refusal = { message, fix }
  }
}

const MAX_AMBIGUOUS = 2
const MAX_OPTIONAL = 3
const MAX_SAMPLES = 256
const MAX_SOURCE = 512

/** A part of the pattern: texts it matches, and the one character that it must begin with, if that is known. */
interface Part { readonly samples: readonly string[], readonly first: string | null }

/**
 * Gives texts that the pattern matches (each alternative, each optional part with and without), or says why it is
 * refused.
 */
export function parsePattern ({ source, flags }: RegExp): Shape | Refusal {
  if (flags !== '')
    {return {
      message: `The flags "${flags}" change what the pattern means.`,
      fix: 'Write it without flags: browsers send origins in lower case, on one line.',
    }}
  if (source.length > MAX_SOURCE) return { message: 'The pattern is too long.', fix: 'Write several patterns.' }
  const body = /^\^(https?:\\?\/\\?\/.*)\$$/s.exec(source)?.[1]
  if (body === undefined || /(?<!\\)(?:\\\\)*\\$/.test(body)) {
    return {
      message: 'The pattern is not anchored with its scheme.',
      fix: 'Begin with ^https:\\/\\/ and end with $: /^https:\\/\\/[a-z0-9-]+\\.example\\.com$/.',
    }
  }
  try {
    return { samples: new Parser(body, false).parse(), dotted: new Parser(body, true).parse() }
  } catch (error) {
    if (error instanceof Unsupported) return error.refusal
    throw error
  }
}

class Parser {
  #at = 0
  #ambiguous = 0
  #optional = 0
  readonly #text: string
  readonly #dotted: boolean

  constructor (text: string, dotted: boolean) {
    this.#text = text
    this.#dotted = dotted
  }

  parse (): readonly string[] {
    const samples = this.#sequence()
    if (this.#at < this.#text.length) {
      throw this.#text[this.#at] === '|'
        ? new Unsupported(
          'An alternative outside a group escapes the anchors.',
          'Write two patterns, or a group: (?:app|admin).',
        )
        : new Unsupported('The brackets do not match.', 'Write each group as (?:…).')
    }
    return samples
  }

  #sequence (): readonly string[] {
    let samples: readonly string[] = ['']
    // A repeat waits here until it is known what follows it.
    let open: RegExp | null = null
    for (
      let char = this.#text[this.#at]; char !== undefined && char !== '|' && char !== ')'; char = this.#text[this.#at]
    ) {
      const { part, repeated } = this.#item(char)
      if (open !== null && (part.first === null || open.test(part.first))) this.#countAmbiguous()
      open = repeated
      samples = combined(samples, part.samples)
    }
    // Inside a group nobody knows here what follows the repeat; at the very end only the anchor does.
    if (open !== null && this.#at < this.#text.length) this.#countAmbiguous()
    return samples
  }

  #item (char: string): { part: Part, repeated: RegExp | null } {
    if (char === '(') {
      const group = this.#group()
      if (!this.#take('?')) {
        if (/^[*+{]/.test(this.#text.slice(this.#at)))
          {throw new Unsupported(
            'A repeated group can take a matcher for ever.',
            'Repeat one character or class: [a-z0-9-]+, [a-z0-9.-]+.',
          )}
        return { part: group, repeated: null }
      }
      this.#countOptional()
      return { part: { samples: ['', ...group.samples], first: null }, repeated: null }
    }
    const atom = this.#atom(char)
    const quantifier = /^(?:[*+?]|\{(\d{1,3})(,(\d{0,3}))?\})/.exec(this.#text.slice(this.#at))
    if (quantifier === null) return { part: { samples: [atom.sample], first: atom.literal }, repeated: null }
    this.#at += quantifier[0].length
    if (/^[?*+{]/.test(this.#text.slice(this.#at)))
      {throw new Unsupported('A quantifier on a quantifier is not supported.', 'Write one quantifier.')}
    if (quantifier[0] === '?') {
      this.#countOptional()
      return { part: { samples: ['', atom.sample], first: null }, repeated: null }
    }
    const least = quantifier[0] === '*' ? 0 : Number(quantifier[1] ?? 1)
    const exact = quantifier[1] !== undefined && quantifier[2] === undefined
    const most = exact || quantifier[3] === String(least) ? least : least + 1
    const samples = [...new Set([atom.sample.repeat(least), atom.spread ?? atom.sample.repeat(most)])]
    return { part: { samples, first: least > 0 ? atom.literal : null }, repeated: exact ? null : atom.test }
  }

  #group (): Part {
    if (this.#text.startsWith('(?', this.#at) && !this.#text.startsWith('(?:', this.#at))
      {throw new Unsupported(
        'Look-around and named groups are not supported.',
        'Write what the origin looks like from left to right.',
      )}
    this.#at += this.#text.startsWith('(?:', this.#at) ? 3 : 1
    const samples: string[] = []
    do samples.push(...this.#sequence())
    while (this.#take('|'))
    if (!this.#take(')')) throw new Unsupported('The brackets do not match.', 'Write each group as (?:…).')
    return { samples: [...new Set(samples)], first: null }
  }

  #atom (char: string): Atom {
    if (char === '.')
      {throw new Unsupported(
        'An unescaped dot matches any character.',
        'Write \\. for a dot, and [a-z0-9-]+ for a label.',
      )}
    if (char === '[') return this.#class()
    if (char === '\\') {
      const escaped = this.#text[this.#at + 1] ?? ''
      this.#at += 2
      if (escaped === 'd' || escaped === 'w') return classAtom(`\\${escaped}`, this.#dotted)
      if (/^[a-zA-Z0-9]$/.test(escaped))
        {throw new Unsupported(
          `\\${escaped} is not supported.`,
          'Write characters, \\d, \\w and classes such as [a-z0-9-].',
        )}
      return literalAtom(escaped)
    }
    if ('^$*+?{}]'.includes(char))
      {throw new Unsupported(
        `An unescaped ${char} does not belong here.`,
        'Write ^ and $ once, around the whole pattern, and a quantifier after one character.',
      )}
    this.#at++
    return literalAtom(char)
  }

  #class (): Atom {
    const text = /^\[(?:[^\]\\]|\\.)*\]/s.exec(this.#text.slice(this.#at))?.[0]
    if (text === undefined) throw new Unsupported('The brackets do not match.', 'Write a class as [a-z0-9-].')
    this.#at += text.length
    return classAtom(text, this.#dotted)
  }

  #take (char: string): boolean {
    if (this.#text[this.#at] !== char) return false
    this.#at++
    return true
  }

  #countAmbiguous (): void {
    if (++this.#ambiguous > MAX_AMBIGUOUS)
      {throw new Unsupported(
        'Too many repeats run into what follows them.',
        'End each repeat before a character that it cannot match: [a-z0-9-]+\\.',
      )}
  }

  #countOptional (): void {
    if (++this.#optional > MAX_OPTIONAL) throw new Unsupported('Too many optional parts.', 'Write several patterns.')
  }
}

/**
 * One character: a text it matches, several of it in a row when a dot may divide them, and the character if it is but
 * one.
 */
interface Atom {
  readonly sample: string
  readonly spread: string | null
  readonly literal: string | null
  readonly test: RegExp
}

function literalAtom (char: string): Atom {
  return {
    sample: char,
    spread: null,
    literal: char,
    test: classOf(`\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`),
  }
}

const CANDIDATES = 'abcdefghijklmnopqrstuvwxyz1234567890-._'

/** A class stays within one part of the origin: the characters that divide its parts are written out. */
function classAtom (text: string, dotted: boolean): Atom {
  const test = classOf(text)
  if (['/', ':', '@', '?', '#', ' '].some((char) => test.test(char)))
    {throw new Unsupported(
      `${text} matches what divides the parts of an origin.`,
      'Say what a label may consist of: [a-z0-9-].',
    )}
  const sample = CANDIDATES.split(/(?:)/).find((char) => test.test(char))
  if (sample === undefined)
    {throw new Unsupported(
      `${text} matches nothing that an origin contains.`,
      'Say what a label may consist of: [a-z0-9-].',
    )}
  return dotted && sample !== '.' && test.test('.')
    ? { sample: '.', spread: `${sample}.${sample}`, literal: null, test }
    : { sample, spread: null, literal: null, test }
}

function classOf (source: string): RegExp {
  return new RegExp(`^${source}$`)
}

function combined (left: readonly string[], right: readonly string[]): readonly string[] {
  if (left.length * right.length > MAX_SAMPLES)
    {throw new Unsupported('Too many alternatives.', 'Write several patterns.')}
  return left.flatMap((start) => right.map((end) => start + end))
}

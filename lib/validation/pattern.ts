/**
 * How the work of a pattern grows with the text, decided at boot. JavaScript's engine backtracks: a pattern that can
 * read the same text in many ways tries them all when the rest does not fit.
 *
 * - Two ways round one loop: the work doubles with each character (`(a+)+$`).
 * - Two loops that can share one text: it grows with the square (`\s*,?\s*$`), with the cube for three.
 *
 * A. Weideman et al., "Analyzing matching time behavior of backtracking regular expression matchers" (CIAA 2016).
 */
import { buildAutomaton, type Automaton } from './pattern-automaton.js'
import { NotJudged, parsePattern, type Expression } from './pattern-parser.js'

/** `degree`: of the polynomial; 1 is linear. */
export type Growth = { readonly kind: 'polynomial', readonly degree: number } | { readonly kind: 'exponential' } | {
  readonly kind: 'not judged'
} | { readonly kind: 'invalid' }

/** Steps of the search before it gives up and takes the worse answer. */
const BUDGET = 1_500_000

const SAMPLES = Array.from('azAZmM059_-.,:;!~@/%+ \t\n\r"\'éßſжאع日😀\u0001\u007f\u00a0\u2028\uffff\u{10ffff}')

const KNOWN = new Map<string, Growth>()

/** Never throws; each pattern is judged once. */
export function growthOf (source: string): Growth {
  const known = KNOWN.get(source) ?? judge(source)
  KNOWN.set(source, known)
  return known
}

function judge (source: string): Growth {
  try {
    new RegExp(source, 'u')
  } catch {
    return { kind: 'invalid' }
  }
  try {
    const expression = parsePattern(source)
    const samples = samplesOf(source)
    const masks = new Map<string, bigint>()
    const maskOf = (atom: string): bigint => {
      const mask = masks.get(atom) ?? maskFor(atom, samples)
      masks.set(atom, mask)
      return mask
    }
    let degree = 1
    for (
      const { body, isAnchored } of [
        { body: expression, isAnchored: startsAnchored(expression) },
        ...looksIn(expression),
      ]
    ) {
      const automaton = buildAutomaton(body, maskOf, isAnchored)
      const groups = loopsOf(automaton.edges)
      if (groups.some((group) => isAmbiguous(automaton, group))) return { kind: 'exponential' }
      degree = Math.max(degree, degreeOf(automaton))
    }
    return { kind: 'polynomial', degree }
  } catch (error) {
    if (error instanceof NotJudged) return { kind: 'not judged' }
    throw error
  }
}

/** A lookaround is matched where it stands, by itself. */
function looksIn (expression: Expression): { body: Expression, isAnchored: boolean }[] {
  if (expression.kind === 'look') return [{ body: expression.body, isAnchored: true }, ...looksIn(expression.body)]
  if (expression.kind === 'repeat') return looksIn(expression.body)
  return 'parts' in expression ? expression.parts.flatMap(looksIn) : []
}

function startsAnchored (expression: Expression): boolean {
  if (expression.kind === 'start') return true
  if (expression.kind === 'choice') return expression.parts.every(startsAnchored)
  if (expression.kind !== 'sequence') return false
  const first = expression.parts.find(({ kind }) => kind !== 'look' && kind !== 'border')
  return first !== undefined && startsAnchored(first)
}

/** Characters on both sides of every border that the pattern draws. */
function samplesOf (source: string): string[] {
  const points = new Set(SAMPLES.map((char) => char.codePointAt(0) ?? 0))
  const add = (point: number): void => {
    for (const near of [point - 1, point, point + 1]) if (near >= 0 && near <= 0x10ffff) points.add(near)
  }
  for (const char of source) add(char.codePointAt(0) ?? 0)
  for (const [, braced, four, two] of source.matchAll(/\\(?:u\{([0-9a-f]+)\}|u([0-9a-f]{4})|x([0-9a-f]{2}))/gi)) {
    add(Number.parseInt(braced ?? four ?? two ?? '0', 16))
  }
  return [...points].map((point) => String.fromCodePoint(point))
}

function maskFor (atom: string, samples: readonly string[]): bigint {
  const expression = new RegExp(`^(?:${atom})$`, 'u')
  return samples.reduce((mask, sample, index) => expression.test(sample) ? mask | (1n << BigInt(index)) : mask, 0n)
}

type Edges = Automaton['edges']

/**
 * The strongly connected groups of positions that hold a loop (Tarjan, iterative over reachability: groups are small).
 */
function loopsOf (edges: Edges): number[][] {
  const groups: number[][] = []
  const seen = new Set<number>()
  const reaches = new Map<number, ReadonlySet<number>>()
  const from = (position: number): ReadonlySet<number> => {
    const known = reaches.get(position) ?? reachable(edges, position)
    reaches.set(position, known)
    return known
  }
  for (const position of edges.keys()) {
    if (seen.has(position) || !from(position).has(position)) continue
    const group = [...from(position)].filter((other) => from(other).has(position))
    for (const other of group) seen.add(other)
    groups.push(group)
  }
  return groups
}

function reachable (edges: Edges, start: number): Set<number> {
  const found = new Set<number>()
  const pending = [start]
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const next of edges[at]?.keys() ?? []) {
      if (found.has(next)) continue
      found.add(next)
      pending.push(next)
    }
  }
  return found
}

/** Whether one text leads round the group in two ways. */
function isAmbiguous ({ masks, edges, accepting }: Automaton, group: readonly number[]): boolean {
  // Where the match may end at once, nothing is tried again.
  if (group.every((position) => accepting.has(position))) return false
  const members = new Set(group)
  const within = new Map(
    group.map((position) => [position, [...edges[position] ?? []].filter(([next]) => members.has(next))]),
  )
  if ([...within.values()].some((nexts) => nexts.some(([, ways]) => ways > 1))) return true
  const size = masks.length
  const back = new Map<number, number[]>()
  const pending = group.map((position) => position * size + position)
  const found = new Set(pending)
  let steps = 0
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const [a] of within.get(Math.floor(at / size)) ?? []) {
      for (const [b] of within.get(at % size) ?? []) {
        if (++steps > BUDGET) return true
        if (((masks[a] ?? 0n) & (masks[b] ?? 0n)) === 0n) continue
        const next = a * size + b
        const before = back.get(next)
        if (before === undefined) back.set(next, [at])
        else before.push(at)
        if (found.has(next)) continue
        found.add(next)
        pending.push(next)
      }
    }
  }
  // Back from two equal places: a pair of different ones on the way is a second way round.
  const returning = group.map((position) => position * size + position)
  const returned = new Set(returning)
  for (let at = returning.pop(); at !== undefined; at = returning.pop()) {
    for (const before of back.get(at) ?? []) {
      if (returned.has(before)) continue
      if (Math.floor(before / size) !== before % size) return true
      returned.add(before)
      returning.push(before)
    }
  }
  return false
}

/** The longest chain of loops of which each can hand the same text on to the next. */
function degreeOf (automaton: Automaton): number {
  const { longEdges, accepting } = automaton
  const loops = loopsOf(longEdges).filter((group) => !group.every((position) => accepting.has(position)))
  const budget = { left: BUDGET }
  const longest = new Map<readonly number[], number>()
  const chain = (group: readonly number[]): number => {
    const known = longest.get(group)
    if (known !== undefined) return known
    const ahead = reachable(longEdges, group[0] ?? 0)
    const next = loops.filter((other) => other !== group && ahead.has(other[0] ?? -1))
    const length = 1 + Math.max(0, ...next.filter((other) => handsOver(automaton, group, other, budget)).map(chain))
    longest.set(group, length)
    return length
  }
  return Math.max(1, ...loops.map(chain))
}

/** Whether one text leads round `first`, round `second`, and from the one to the other. */
function handsOver (
  { masks, longEdges }: Automaton,
  first: readonly number[],
  second: readonly number[],
  budget: { left: number },
): boolean {
  const size = masks.length
  const inFirst = new Set(first)
  const inSecond = new Set(second)
  for (const p of first) {
    for (const q of second) {
      const goal = (p * size + q) * size + q
      const pending: [number, number, number][] = [[p, p, q]]
      const found = new Set<number>()
      for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
        for (const a of longEdges[at[0]]?.keys() ?? []) {
          if (!inFirst.has(a)) continue
          for (const c of longEdges[at[2]]?.keys() ?? []) {
            const mask = inSecond.has(c) ? (masks[a] ?? 0n) & (masks[c] ?? 0n) : 0n
            if (mask === 0n) continue
            for (const b of longEdges[at[1]]?.keys() ?? []) {
              if (--budget.left < 0) return true
              const next = (a * size + b) * size + c
              if (found.has(next) || (mask & (masks[b] ?? 0n)) === 0n) continue
              if (next === goal) return true
              found.add(next)
              pending.push([a, b, c])
            }
          }
        }
      }
    }
  }
  return false
}

import { NotJudged, type Expression } from './pattern-parser.js'

/** A repetition of more than this is taken for a loop; of fewer, for that many copies. */
const COPIES = 4
/** Loops of fewer rounds than this bound their own work: two of them one after the other are no danger. */
const FEW_ROUNDS = 256
const MAX_POSITIONS = 1500

/**
 * The positions of a pattern's characters, and which may follow which (Glushkov). An edge counts its ways, up to 2: two
 * ways to read the same character from the same place double the work of each round.
 */
export interface Automaton {
  /** For each position, which of the sample characters it takes, as a bit set. */
  readonly masks: readonly bigint[]
  readonly edges: readonly ReadonlyMap<number, number>[]
  /** The same without loops of few rounds. */
  readonly longEdges: readonly ReadonlyMap<number, number>[]
  /** Where a match may end at once, with any text after it. */
  readonly accepting: ReadonlySet<number>
}

interface Fragment {
  readonly empty: number
  readonly first: ReadonlyMap<number, number>
  readonly last: ReadonlyMap<number, number>
}

const NOTHING: Fragment = { empty: 1, first: new Map(), last: new Map() }

/** @throws NotJudged for a pattern that is too large. */
export function buildAutomaton (
  expression: Expression,
  maskOf: (source: string) => bigint,
  isAnchored: boolean,
): Automaton {
  const masks: bigint[] = []
  const edges: Map<number, number>[] = []
  const longEdges: Map<number, number>[] = []
  const found = { asserts: false }
  // A search starts again at each character: a loop over anything, before the pattern.
  const start: Expression = isAnchored
    ? { kind: 'start' }
    : { kind: 'repeat', body: { kind: 'atom', source: '[^]' }, min: 0, max: Infinity }
  const whole = build({ kind: 'sequence', parts: [start, expression] })
  return { masks, edges, longEdges, accepting: new Set(found.asserts ? [] : whole.last.keys()) }

  function build (node: Expression): Fragment {
    switch (node.kind) {
      case 'atom': return position(maskOf(node.source))
      // Its own symbol, which no character has: what loops before it is not at the end of the match.
      case 'end': return position(0n)
      case 'start': return NOTHING
      case 'border': case 'look':
        found.asserts = true
        return NOTHING
      case 'sequence':
        return node.parts.map(build).reduce(join, NOTHING)
      case 'choice':
        return node.parts.map(build).reduce(
          (a, b) => ({
            empty: Math.min(2, a.empty + b.empty),
            first: sum(a.first, b.first, 1),
            last: sum(a.last, b.last, 1),
          }),
          { ...NOTHING, empty: 0 },
        )
      case 'repeat':
        return repeat(node.body, node.min, node.max)
    }
  }

  function repeat (body: Expression, min: number, max: number): Fragment {
    if (max === 0) return NOTHING
    if (max <= COPIES) {
      let result = NOTHING
      for (let copy = min; copy < max; copy++) result = optional(join(build(body), result))
      for (let copy = 0; copy < min; copy++) result = join(build(body), result)
      return result
    }
    const once = build(body)
    connect(once.last, once.first, edges)
    if (max >= FEW_ROUNDS) connect(once.last, once.first, longEdges)
    return min === 0 ? optional(once) : once
  }

  function join (a: Fragment, b: Fragment): Fragment {
    connect(a.last, b.first, edges)
    connect(a.last, b.first, longEdges)
    return {
      empty: Math.min(2, a.empty * b.empty),
      first: sum(a.first, b.first, a.empty),
      last: sum(b.last, a.last, b.empty),
    }
  }

  function position (mask: bigint): Fragment {
    const index = masks.push(mask) - 1
    if (index >= MAX_POSITIONS) throw new NotJudged()
    edges.push(new Map())
    longEdges.push(new Map())
    return { empty: 0, first: new Map([[index, 1]]), last: new Map([[index, 1]]) }
  }
}

/** JavaScript gives up a round that reads nothing, so skipping is the one way to be empty. */
function optional (fragment: Fragment): Fragment {
  return { ...fragment, empty: 1 }
}

function sum (
  a: ReadonlyMap<number, number>,
  b: ReadonlyMap<number, number>,
  times: number,
): ReadonlyMap<number, number> {
  if (times === 0) return a
  const result = new Map(a)
  for (const [key, count] of b) result.set(key, Math.min(2, (result.get(key) ?? 0) + count * times))
  return result
}

function connect (
  from: ReadonlyMap<number, number>,
  to: ReadonlyMap<number, number>,
  edges: readonly Map<number, number>[],
): void {
  for (const [a, ways] of from) {
    for (const [b, others] of to) edges[a]?.set(b, Math.min(2, (edges[a].get(b) ?? 0) + ways * others))
  }
}

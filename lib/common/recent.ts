import { Generations } from './generations.js'

/** Remembers what `make` gave for recent arguments, at most twice `capacity` of them. */
export function rememberRecent<T extends string> (make: (text: string) => T, capacity: number): (text: string) => T {
  const recent = new Generations<string, T>(2 * capacity)
  return function recall (text: string): T {
    const known = recent.get(text)
    if (known !== undefined) return known
    const made = make(text)
    recent.set(text, made)
    return made
  }
}

/** Longer texts are not kept: a client could fill the memory with them. */
const LONGEST = 256

/** Remembers the answer to the last text that was judged, for texts that are nearly always the same. */
export function rememberLast (judge: (text: string) => boolean): (text: string) => boolean {
  let last: string | null = null
  let answer = false
  return function recallLast (text) {
    if (text === last) return answer
    const judged = judge(text)
    if (text.length <= LONGEST) {
      last = text
      answer = judged
    }
    return judged
  }
}

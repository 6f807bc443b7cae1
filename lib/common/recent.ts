import { Generations } from './generations.js'

/** Remembers what `make` gave for the latest arguments, at most twice `capacity` of them. */
export function rememberRecent<T extends string> (make: (text: string) => T, capacity: number): (text: string) => T {
  const made = new Generations<string, T>(capacity * 2)
  return function recall (text) {
    const known = made.get(text)
    if (known !== undefined) return known
    const fresh = make(text)
    made.set(text, fresh)
    return fresh
  }
}

/** Longer texts are not kept, so that a client cannot hold memory with them. */
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

/**
 * Remembers what `make` gave for recent arguments, at most twice `capacity` of them: when the young generation is full
 * it becomes the old one, and the old one is dropped. Constant time, no order to keep.
 */
export function rememberRecent<T extends string> (make: (text: string) => T, capacity: number): (text: string) => T {
  let young = new Map<string, T>()
  let old = new Map<string, T>()
  return function recall (text: string): T {
    let made = young.get(text)
    if (made !== undefined) return made
    made = old.get(text) ?? make(text)
    if (young.size >= capacity) {
      old = young
      young = new Map()
    }
    young.set(text, made)
    return made
  }
}

/** Longer texts are not kept: whoever sends them could keep their memory. */
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

/**
 * About how many bytes of JSON a parsed value has, counted until it passes `limit`. Iterative, because a body of a few
 * kilobytes can nest deeper than the stack; the work is bounded by `limit`, not by the body.
 */
export function sizeUpTo (value: unknown, limit: number): number {
  const pending: unknown[] = [value]
  let size = 0
  while (pending.length > 0 && size <= limit) {
    const next = pending.pop()
    if (typeof next === 'string') size += next.length + 2
    else if (typeof next !== 'object' || next === null) size += 4
    else if (Array.isArray(next)) {
      size += 2 + next.length
      if (size <= limit) for (const item of next) pending.push(item)
    } else {
      size += 2
      for (const key in next) {
        size += key.length + 4
        if (size > limit) break
        pending.push((next as Record<string, unknown>)[key])
      }
    }
  }
  return size
}

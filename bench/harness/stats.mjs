export function quantile (values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)]
  return below + (sorted[Math.ceil(at)] - below) * (at - Math.floor(at))
}

export const median = (values) => quantile(values, 0.5)

export const summary = (values) => ({ median: median(values), q1: quantile(values, 0.25), q3: quantile(values, 0.75) })

/**
 * b / a, round by round, so that what slows both down in a round cancels out. `calm` is the median of the quarter of
 * the rounds in which the two servers were kept waiting for their core least.
 */
export function compareRounds (a, b, of) {
  const rounds = a.map((left, index) => ({
    ratio: of(b[index]) / of(left),
    calm: Math.min(left.share, b[index].share),
  }))
  const calmest = [...rounds].sort((left, right) => right.calm - left.calm).slice(
    0,
    Math.max(1, Math.ceil(rounds.length / 4)),
  )
  return { ...summary(rounds.map(({ ratio }) => ratio)), calm: median(calmest.map(({ ratio }) => ratio)) }
}

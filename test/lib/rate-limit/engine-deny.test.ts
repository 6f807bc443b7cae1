import { test } from 'tap'
import { tooManyRequests } from '../../../lib/rate-limit/answers.js'
import { LimitEngine, type Decision } from '../../../lib/rate-limit/engine.js'
import { resolvePolicies, type ResolvedLimit } from '../../../lib/rate-limit/policies.js'
import { MemoryStore } from '../../../lib/rate-limit/stores/memory.js'
import type { LimitStore, Verdict } from '../../../lib/rate-limit/stores/store.js'
import { seeded } from './traces.js'

class DistantStore implements LimitStore {
  readonly kind = 'redis'
  asked = 0
  readonly #inner: MemoryStore

  constructor (now: () => number) {
    this.#inner = new MemoryStore({ now })
  }

  async consume (...args: Parameters<LimitStore['consume']>): Promise<Verdict> {
    this.asked++
    return this.#inner.consume(...args)
  }

  async giveBack (...args: Parameters<LimitStore['giveBack']>): Promise<void> { this.#inner.giveBack(...args) }
  peek (): never { throw new Error('not asked here') }
  reset (): never { throw new Error('not asked here') }
  ban (): never { throw new Error('not asked here') }
  close (): void {}
}

interface Step {
  readonly limits: readonly ResolvedLimit[]
  readonly quotas: ResolvedLimit['quota'][]
  readonly onOutage: ResolvedLimit['onOutage'][]
  readonly failuresOnly: boolean[]
}

const LIMITS = resolvePolicies({
  p: [
    { limit: 3, window: '4s', by: 'ip' }, { limit: 5, window: '30s', by: 'ip', algorithm: 'sliding' },
    { limit: 2, window: '5s', by: 'ip', count: 'failures' }, { limit: 4, window: '3s', by: 'ip', mode: 'shadow' },
  ],
}, 'policies', []).get('p') ?? []

/** What routes with different lists of the same policies would decide in one step. */
const STEPS: readonly Step[] = [[0], [0, 1], [1, 2], [2], [0, 1, 2, 3], [3, 2]].map((places) => {
  const limits = places.flatMap((place) => LIMITS[place] ?? [])
  return {
    limits,
    quotas: limits.map(({ quota }) => quota),
    onOutage: limits.map(({ onOutage }) => onOutage),
    failuresOnly: limits.map(({ failuresOnly }) => failuresOnly),
  }
})

const keysOf = (step: Step, caller: number): string[] => step.limits.map(({ position }) => `${position} ${caller}`)

test('the deny cache changes no verdict, only how often the store is asked; honouring Retry-After succeeds', async (t) => {
  let denied = 0
  for (let seed = 1; seed <= 150; seed++) {
    const random = seeded(seed)
    const clock = { now: 1000 }
    const now = (): number => clock.now
    const engine = new LimitEngine(new DistantStore(now), new MemoryStore(), () => {}, { now })
    const plain = new LimitEngine(new MemoryStore({ now }), new MemoryStore(), () => {}, { now })
    const held: { step: Step, keys: string[], decision: Decision, twin: Decision }[] = []
    for (let turn = 0; turn < 80; turn++) {
      clock.now += Math.floor(random() ** 3 * 2500)
      const step = STEPS[Math.floor(random() * STEPS.length)] as Step
      const keys = keysOf(step, Math.floor(random() * 2))
      const back = random() < 0.3 ? held.pop() : undefined
      if (back !== undefined) {
        await engine.giveBack(back.step, back.keys, back.decision, back.step.failuresOnly)
        await plain.giveBack(back.step, back.keys, back.twin, back.step.failuresOnly)
      }
      const decision = await engine.decide(step, keys)
      const twin = await plain.decide(step, keys)
      if (decision.source === 'deny-cache') denied++
      if (decision.outcome !== twin.outcome) {
        t.fail(`seed ${seed}, turn ${turn}: ${decision.outcome}, without the cache ${twin.outcome}`)
      }
      if (decision.outcome === 'admitted') held.push({ step, keys, decision, twin })
      else if (random() < 0.2) {
        // The caller is the only one of its keys, so that nothing comes in between.
        clock.now += Number(tooManyRequests(step.limits, decision).headers['retry-after']) * 1000
        const again = await engine.decide(step, keys)
        if (again.outcome !== 'admitted') t.fail(`seed ${seed}, turn ${turn}: refused after Retry-After`)
        const same = await plain.decide(step, keys)
        held.push({ step, keys, decision: again, twin: same })
      }
    }
  }
  t.ok(denied > 500, `${denied} answers out of the cache`)
})

import { LRUCache } from 'lru-cache'

const mostShare = 0.75
/** So long, in ms, anybody's answers may be searched without a rest: the time of a large answer of the ordinary kind. */
const slackMs = 20
/** No step searches for longer: what took more is a machine that stood still meanwhile, which is nobody's doing. */
const longestStepMs = 1_000

/**
 * How much of the proxy's time goes to searching one person's answers: three quarters of it, however many there are,
 * since everybody waits meanwhile. Text of nothing but character references takes a hundred times what prose takes
 * (docs/decisions/0034).
 */
export interface SearchShare {
  /** For how long, in ms, nothing of theirs is to be searched; 0 is nearly always the answer. */
  restMs(principalId: string): number
  /** Something of theirs was searched for `ms`, until now. */
  took(principalId: string, ms: number): void
}

/** `now` is a monotonic clock in ms. */
export function createSearchShare(now: () => number): SearchShare {
  const freeAt = new LRUCache<string, number>({ max: 10_000 })
  return {
    restMs: (principalId) => Math.max(0, (freeAt.get(principalId) ?? 0) - now()),
    took(principalId, ms) {
      const spentMs = Math.min(ms, longestStepMs)
      const since = Math.max(freeAt.get(principalId) ?? 0, now() - spentMs - slackMs)
      freeAt.set(principalId, since + spentMs / mostShare)
    },
  }
}

/** Runs steps in their order, each when it may be. */
export type Turns = (step: () => void) => void

/** What brings something to be searched. */
export interface Pausable {
  pause(): void
  resume(): void
}

/**
 * The steps of one search, each as soon as `share` lets its person have a turn; `source` brings no more while one
 * waits.
 */
export function inTurns(share: SearchShare, principalId: string, source: Pausable): Turns {
  const waiting: (() => void)[] = []
  const run = (step: () => void) => {
    const began = performance.now()
    step()
    share.took(principalId, performance.now() - began)
  }
  const next = () => {
    for (let step = waiting[0]; step !== undefined; step = waiting[0]) {
      const restMs = share.restMs(principalId)
      if (restMs > 0) return void setTimeout(next, restMs)
      run(step)
      waiting.shift()
    }
    source.resume()
  }
  return (step) => {
    const restMs = waiting.length > 0 ? undefined : share.restMs(principalId)
    if (restMs === 0) return run(step)
    waiting.push(step)
    if (restMs === undefined) return
    source.pause()
    setTimeout(next, restMs)
  }
}

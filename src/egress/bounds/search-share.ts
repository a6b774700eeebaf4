import { LRUCache } from 'lru-cache'

const mostShare = 0.75
/** So long, in ms, anybody's may be searched without a rest: the time of a large answer of the ordinary kind. */
const slackMs = 20
/** No step searches for longer: what took more is a machine that stood still meanwhile, which is nobody's doing. */
const longestStepMs = 1_000

/**
 * How much of the proxy's time goes to searching one person's answers, and the bodies that take a credential: three
 * quarters of it, however many there are, since everybody waits meanwhile. Text of nothing but character references
 * takes a hundred times what prose takes (docs/decisions/0034), and JSON of nothing but keys ten times.
 */
export interface SearchShare {
  /** For how long, in ms, nothing of theirs is to be searched; 0 is nearly always the answer. */
  restMs(principalId: string): number
  /** Something of theirs was searched for `ms`, until now. */
  took(principalId: string, ms: number): void
  /** Does something of theirs now, and counts how long it took. */
  run<Done>(principalId: string, step: () => Done): Done
}

/** `now` is a monotonic clock in ms. */
export function createSearchShare(now: () => number): SearchShare {
  const freeAt = new LRUCache<string, number>({ max: 10_000 })
  const took = (principalId: string, ms: number) => {
    const spentMs = Math.min(ms, longestStepMs)
    const since = Math.max(freeAt.get(principalId) ?? 0, now() - spentMs - slackMs)
    freeAt.set(principalId, since + spentMs / mostShare)
  }
  return {
    restMs: (principalId) => Math.max(0, (freeAt.get(principalId) ?? 0) - now()),
    took,
    run(principalId, step) {
      const began = now()
      const done = step()
      took(principalId, now() - began)
      return done
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
  const next = () => {
    for (let step = waiting[0]; step !== undefined; step = waiting[0]) {
      const restMs = share.restMs(principalId)
      if (restMs > 0) return void setTimeout(next, restMs)
      share.run(principalId, step)
      waiting.shift()
    }
    source.resume()
  }
  return (step) => {
    const restMs = waiting.length > 0 ? undefined : share.restMs(principalId)
    if (restMs === 0) return share.run(principalId, step)
    waiting.push(step)
    if (restMs === undefined) return
    source.pause()
    setTimeout(next, restMs)
  }
}

import { LRUCache } from 'lru-cache'
import type { Full } from './limits.ts'

/** Who has used up what they may, and when a little of it will be back. */
export interface Spent {
  by: Full
  waitSeconds: number
}

/** So much in a time, by principal and in all, kept by this process alone. */
export interface Budget {
  /**
   * Takes `amount`, or says who has nothing left. What is begun may overdraw, and is then paid off before anything
   * else: an upload of unknown length is counted as it goes.
   */
  spend(principalId: string, amount: number): Spent | undefined
}

interface Purse {
  left: number
  at: number
}

/** Purses that fill evenly: `perPrincipal` and `total` in each `windowMs`, and never more than that at once. */
export function createBudget(options: {
  perPrincipal: number
  total: number
  windowMs: number
  now: () => number
}): Budget {
  const { perPrincipal, total, windowMs, now } = options
  // Whoever is forgotten has been silent for longer than ten thousand others.
  const purses = new LRUCache<string, Purse>({ max: 10_000 })
  const common: Purse = { left: total, at: now() }

  const waitFor = (purse: Purse, size: number, at: number): number => {
    const back = Math.max(0, at - purse.at) * (size / windowMs)
    purse.left = Math.min(size, purse.left + back)
    purse.at = at
    return purse.left >= 1 ? 0 : Math.max(1, Math.ceil(((1 - purse.left) * windowMs) / size / 1_000))
  }

  return {
    spend(principalId, amount) {
      const at = now()
      let purse = purses.get(principalId)
      if (purse === undefined) {
        purse = { left: perPrincipal, at }
        purses.set(principalId, purse)
      }
      const mine = waitFor(purse, perPrincipal, at)
      if (mine > 0) return { by: 'principal', waitSeconds: mine }
      const all = waitFor(common, total, at)
      if (all > 0) return { by: 'total', waitSeconds: all }
      purse.left -= amount
      common.left -= amount
      return undefined
    },
  }
}

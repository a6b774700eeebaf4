import { LRUCache } from 'lru-cache'
import type { Clock } from '../core/index.ts'

/** How many in a burst, and how many come back per minute. */
export interface Rate {
  burst: number
  perMinute: number
}

export interface Buckets {
  /** Nothing left for this key. */
  empty(key: string): boolean
  /** Nothing was taken for this key lately. */
  full(key: string): boolean
  take(key: string): void
}

/**
 * Token buckets by key, in memory, at most `max` of them. The least recently used is forgotten, which can only
 * be too kind: whoever owns enough addresses to push buckets out has a fresh bucket for each anyway.
 */
export function createBuckets(rate: Rate, clock: Clock, max = 10_000): Buckets {
  const buckets = new LRUCache<string, { level: number; at: number }>({ max })
  const level = (key: string) => {
    const bucket = buckets.get(key)
    if (bucket === undefined) return rate.burst
    const minutes = Math.max(0, clock.now() - bucket.at) / 60_000
    return Math.min(rate.burst, bucket.level + minutes * rate.perMinute)
  }
  return {
    empty: (key) => level(key) < 1,
    full: (key) => level(key) >= rate.burst,
    take(key) {
      buckets.set(key, { level: Math.max(0, level(key) - 1), at: clock.now() })
    },
  }
}

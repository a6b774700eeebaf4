import { randomBytes, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { createMac } from '../core/index.ts'
import type { Caller, RecalledCaller } from './types.ts'

export interface KnownKeys {
  digest(text: string): Buffer
  /** This very text was proven in this process, whatever became of its row. */
  seen(id: string, digest: Buffer): boolean
  /** This very text was proven in this process, against this very hash in the row. */
  has(id: string, digest: Buffer, hash: string): boolean
  remember(id: string, digest: Buffer, hash: string): void
  /** Whom the key `id` was found to be for, just now. */
  keep(id: string, caller: Caller): void
  /** What was kept for this very text, within the last 30 s. */
  recall(id: string, digest: Buffer): RecalledCaller | undefined
}

interface Entry {
  digest: Buffer
  hash: string
  caller?: Caller
  keptAt: number
}

/** Long enough for a busy client, short enough that last use and names are looked at about twice a minute. */
const recallMs = 30_000

/**
 * Keys that were proven once in this process: a digest under a key that never leaves it, and the stored hash that
 * it was proven against, so that a reissued secret is unknown again. Never the key itself. Only a right key
 * gets in, so that wrong ones cannot push anybody out.
 */
export function createKnownKeys(max = 10_000): KnownKeys {
  const known = new LRUCache<string, Entry>({ max })
  const seen = (id: string, digest: Buffer) => {
    const entry = known.get(id)
    return entry !== undefined && timingSafeEqual(entry.digest, digest)
  }
  return {
    digest: createMac(randomBytes(32)),
    seen,
    has: (id, digest, hash) => seen(id, digest) && known.get(id)?.hash === hash,
    remember(id, digest, hash) {
      known.set(id, { digest, hash, keptAt: Number.NEGATIVE_INFINITY })
    },
    keep(id, caller) {
      const entry = known.get(id)
      if (entry === undefined) return
      entry.caller = caller
      entry.keptAt = performance.now()
    },
    recall(id, digest) {
      if (!seen(id, digest)) return undefined
      const entry = known.get(id)
      if (entry?.caller === undefined || performance.now() - entry.keptAt > recallMs) return undefined
      return { caller: entry.caller, secretHash: entry.hash }
    },
  }
}

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { createMac } from '../core/index.ts'

export interface KnownKeys {
  digest(text: string): Buffer
  /** This very text was proven in this process, whatever became of its row. */
  seen(id: string, digest: Buffer): boolean
  /** This very text was proven in this process, against this very hash in the row. */
  has(id: string, digest: Buffer, hash: string): boolean
  remember(id: string, digest: Buffer, hash: string): void
}

/**
 * Keys that were proven once in this process: a digest under a key that never leaves it, and the stored hash that
 * it was proven against, so that a reissued secret is unknown again. Never the key itself. Only a right key
 * gets in, so that wrong ones cannot push anybody out.
 */
export function createKnownKeys(max = 10_000): KnownKeys {
  const known = new LRUCache<string, { digest: Buffer; hash: string }>({ max })
  const seen = (id: string, digest: Buffer) => {
    const entry = known.get(id)
    return entry !== undefined && timingSafeEqual(entry.digest, digest)
  }
  return {
    digest: createMac(randomBytes(32)),
    seen,
    has: (id, digest, hash) => seen(id, digest) && known.get(id)?.hash === hash,
    remember(id, digest, hash) {
      known.set(id, { digest, hash })
    },
  }
}

import { Pool } from 'undici'
import type { SandboxIdentity } from './types.ts'

/** Connections to toolhosts, kept open between calls. */
export interface Pools extends AsyncDisposable {
  /**
   * The connections to one life. They are never shared between lives, even where a socket's path is used again:
   * a connection that is open leads to whom it was opened to.
   */
  get(socketPath: string, identity: SandboxIdentity): Pool
  /**
   * A new connection for one question to whoever is there now; the caller closes it. A path may be a descriptor's
   * number, which the next sandbox gets again: a kept connection would answer for the one before.
   */
  once(socketPath: string): Pool
  /**
   * Uses a pool for nothing new, after a connection of it was lost: where the toolhost died, its idle connections
   * are dead too, and a call written to one would be in doubt where a new connection says for certain.
   */
  retire(pool: Pool): void
}

interface Entry {
  pool: Pool
  usedAt: number
}

/** Closed by us before the toolhost ever would: it never closes an idle connection (`toolhost/server.ts`). */
const idleMs = 30_000
/** More than calls can run at once, so that a cancellation never waits for a connection. */
const connections = 64

export function createPools(): Pools {
  const entries = new Map<string, Entry>()
  return {
    get(socketPath, identity) {
      const key = JSON.stringify([socketPath, identity.sandboxUid, identity.generation])
      let entry = entries.get(key)
      if (entry === undefined) {
        dropIdle()
        entry = { pool: open(socketPath), usedAt: 0 }
        entries.set(key, entry)
      }
      entry.usedAt = Date.now()
      return entry.pool
    },
    once: open,
    retire(pool) {
      for (const [key, entry] of entries) {
        if (entry.pool !== pool) continue
        entries.delete(key)
        void pool.close()
      }
    },
    async [Symbol.asyncDispose]() {
      const all = [...entries.values()]
      entries.clear()
      await Promise.all(all.map((entry) => entry.pool.destroy()))
    },
  }

  function dropIdle(): void {
    for (const [key, { pool, usedAt }] of entries) {
      if (Date.now() - usedAt < 2 * idleMs || pool.stats.size > 0) continue
      entries.delete(key)
      void pool.close()
    }
  }
}

function open(socketPath: string): Pool {
  return new Pool('http://toolhost', {
    socketPath,
    connections,
    pipelining: 1,
    keepAliveTimeout: idleMs,
    connectTimeout: 5_000,
    // A call takes as long as its own limit allows; that limit is not the connection's business.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
}

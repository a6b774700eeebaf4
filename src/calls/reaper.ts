import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../core/index.ts'
import { reapCalls, type Store } from '../store/index.ts'

/** A replica without a heartbeat for this long is dead. */
const deadAfterSeconds = 45
const everyMs = 15_000

/**
 * Ends the calls that a dead replica left behind as `unknown`, now and every 15 s until disposed. Every replica
 * runs one; a call is ended once. A replica that was only slow keeps its results but not its records.
 */
export function createCallReaper({ store, log }: { store: Pick<Store, 'db'>; log: Log }): AsyncDisposable {
  const stop = new AbortController()
  const run = (async () => {
    while (!stop.signal.aborted) {
      await reapLost(store).then(
        (ended) => ended > 0 && log.warn({ calls: ended }, 'ended the calls of a dead replica'),
        (err: unknown) => log.warn({ err }, 'could not look for calls of dead replicas'),
      )
      await sleep(everyMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
  })()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await run
    },
  }
}

/** One look; returns how many calls it ended. */
export async function reapLost(store: Pick<Store, 'db'>): Promise<number> {
  return (await reapCalls(store.db, deadAfterSeconds)).length
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../core/index.ts'
import { type Heartbeat, reapCalls, type Store } from '../store/index.ts'

/**
 * Ends the calls that a dead replica (no heartbeat for `deadAfterSeconds`) left behind as `unknown`, three times in
 * that time until disposed. Every replica runs one; a call is ended once. A replica that was only slow keeps its
 * results but not its records. After an outage of the database everybody looks dead: this one judges nobody before
 * it has been heard itself for as long as it demands of others.
 */
export function createCallReaper(options: {
  store: Pick<Store, 'db'>
  log: Log
  deadAfterSeconds: number
  replica: Pick<Heartbeat, 'wasHeardFor'>
}): AsyncDisposable {
  const { store, log, deadAfterSeconds, replica } = options
  const stop = new AbortController()
  const run = (async () => {
    while (!stop.signal.aborted) {
      if (replica.wasHeardFor(deadAfterSeconds * 1000))
        await reapLost(store, deadAfterSeconds).then(
          (ended) => ended > 0 && log.warn({ calls: ended }, 'ended the calls of a dead replica'),
          (err: unknown) => log.warn({ err }, 'could not look for calls of dead replicas'),
        )
      await sleep((deadAfterSeconds * 1000) / 3, undefined, { signal: stop.signal, ref: false }).catch(
        () => undefined,
      )
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
export async function reapLost(store: Pick<Store, 'db'>, deadAfterSeconds: number): Promise<number> {
  return (await reapCalls(store.db, deadAfterSeconds)).length
}

import { setTimeout as sleep } from 'node:timers/promises'
import { createTrouble, type Log, type ReplicaId } from '../core/index.ts'
import type { Store } from './database.ts'
import { beat } from './replicas.ts'

/** This process's row in `replicas`, kept alive while it runs. */
export interface Heartbeat {
  readonly id: ReplicaId
  /**
   * Whether others still take this replica for alive: its last beat was sent less than `freshMs` ago. A process
   * that was paused, or cut off from the database, finds out here before it trusts what it holds.
   */
  isFresh(): boolean
  /** Whether it has been fresh without a gap for `ms`: the database was there, and the others were heard if they live. */
  wasHeardFor(ms: number): boolean
  /** Beats now; rejects when the database does not take it. */
  beatNow(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts beating every `everyMs`, the first time at once. `freshMs` must be well below the age at which other
 * replicas reap what this one holds. Failures are logged and tried again at the next beat.
 */
export function startHeartbeat(options: {
  store: Pick<Store, 'db'>
  log: Log
  replica: { id: ReplicaId; kind: 'gateway' | 'egress'; host: string }
  everyMs: number
  freshMs: number
}): Heartbeat {
  const { store, log, replica } = options
  const stop = new AbortController()
  const trouble = createTrouble(log, {
    fails: 'heartbeat failed',
    lasts: 'heartbeat still fails; others may take this replica for dead',
    over: 'heartbeat works again',
  })
  // The monotonic clock goes on while the process is stopped, and no administrator sets it.
  let freshUntil = Number.NEGATIVE_INFINITY
  let heardSince = Number.POSITIVE_INFINITY

  const beatNow = async () => {
    const sent = performance.now()
    await beat(store.db, replica)
    // A beat may have been sent while the database was still away: it is there from the answer on.
    if (sent > freshUntil) heardSince = performance.now()
    freshUntil = Math.max(freshUntil, sent + options.freshMs)
  }
  const run = (async () => {
    while (!stop.signal.aborted) {
      await beatNow().then(
        () => trouble.over('heartbeat'),
        (err: unknown) => trouble.happened('heartbeat', err),
      )
      await sleep(options.everyMs, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  })()

  return {
    id: replica.id,
    isFresh: () => performance.now() < freshUntil,
    wasHeardFor: (ms) => performance.now() < freshUntil && performance.now() - heardSince >= ms,
    beatNow,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await run
    },
  }
}

import { createTrouble, type Log } from '../core/index.ts'
import {
  type ClaimedSlackJob,
  claimSlackJob,
  forgetOldSlackDeliveries,
  forgetOldSlackJobs,
  type Notices,
  nextSlackJobInMs,
  type Store,
} from '../store/index.ts'
import { createAttempts, type JobWork, lockMs } from './attempts.ts'

const parallel = 4
const pollMs = 5_000
const tidyEveryMs = 60 * 60_000

export interface Worker {
  /** Looks for work now. */
  kick: () => void
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Does the jobs, a few at a time, on as many replicas as there are. A failed attempt comes back later, longer
 * and longer, for a day; then `abandon` cleans up and the job fails. Work that follows from a job is written in
 * the transaction that ends it.
 */
export function startWorker(
  deps: {
    store: Store
    notices: Pick<Notices, 'on'>
    log: Log
  } & JobWork,
): Worker {
  const { store, log } = deps
  const trouble = createTrouble(log, {
    fails: 'slack jobs not read',
    lasts: 'slack jobs are still not read; people wait',
    over: 'slack jobs are read again',
  })
  const running = new Set<Promise<void>>()
  let stopped = false
  let pausedUntil = 0
  let tidiedAt = Date.now()
  let wake = () => {}
  let kicked = false
  const kick = () => {
    kicked = true
    wake()
  }

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      if (kicked || stopped) return resolve()
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  const attempts = createAttempts({
    ...deps,
    kick,
    rest: (ms) => {
      pausedUntil = Math.max(pausedUntil, Date.now() + ms)
    },
  })

  const start = (claim: ClaimedSlackJob) => {
    const done = attempts(claim)
      // The claim runs out by itself, and the job comes back.
      .catch((err: unknown) => log.error({ err, jobId: claim.id }, 'slack job not settled'))
      .finally(() => {
        running.delete(done)
        kick()
      })
    running.add(done)
  }

  const step = async (): Promise<number> => {
    if (Date.now() - tidiedAt > tidyEveryMs) {
      tidiedAt = Date.now()
      await forgetOldSlackDeliveries(store.db)
      await forgetOldSlackJobs(store.db)
    }
    const resting = pausedUntil - Date.now()
    if (resting > 0) return Math.min(resting, pollMs)
    while (!stopped && running.size < parallel) {
      const claim = await claimSlackJob(store.db, lockMs)
      if (claim === undefined) return Math.min((await nextSlackJobInMs(store.db)) ?? pollMs, pollMs)
      start(claim)
    }
    return pollMs
  }

  const loop = (async () => {
    while (!stopped) {
      kicked = false
      const waitMs = await step().then(
        (ms) => {
          trouble.over('jobs')
          return ms
        },
        (err: unknown) => {
          trouble.happened('jobs', err)
          return 1_000
        },
      )
      await pause(Math.max(10, waitMs))
    }
    await Promise.race([
      Promise.allSettled(running),
      new Promise((resolve) => setTimeout(resolve, 10_000).unref()),
    ])
  })()

  const unsubscribe = deps.notices.on((notice) => {
    if (notice.kind === 'slack_job') kick()
  })

  return {
    kick,
    async [Symbol.asyncDispose]() {
      stopped = true
      unsubscribe()
      kick()
      await loop
    },
  }
}

import { type JobId, type Log, newId } from '../core/index.ts'
import {
  addSlackJob,
  type ClaimedSlackJob,
  claimSlackJob,
  extendSlackJob,
  finishSlackJob,
  forgetOldSlackDeliveries,
  forgetOldSlackJobs,
  type Notices,
  nextSlackJobInMs,
  notify,
  postponeSlackJob,
  type Store,
} from '../store/index.ts'
import { backoffMs, type Failure, sortFailure } from './failures.ts'
import { Job } from './jobs.ts'

const parallel = 4
const lockMs = 90_000
const pollMs = 5_000
const giveUpAfterMs = 24 * 60 * 60_000
const tidyEveryMs = 60 * 60_000

/** One attempt at a job. */
export interface Attempt {
  id: JobId
  /** True when an earlier attempt may have got anywhere. */
  again: boolean
  /** Holds the claim for what comes next; throws, and nothing more may be done, when it was lost. */
  hold(): Promise<void>
}

export interface Worker {
  /** Looks for work now. */
  kick: () => void
  [Symbol.asyncDispose](): Promise<void>
}

class ClaimLost extends Error {}

/**
 * Does the jobs, a few at a time, on as many replicas as there are. A failed attempt comes back later, longer
 * and longer, for a day; then `abandon` cleans up and the job fails. Work that follows from a job is written in
 * the transaction that ends it.
 */
export function startWorker(deps: {
  store: Store
  notices: Pick<Notices, 'on'>
  log: Log
  perform(job: Job, attempt: Attempt): Promise<Job[]>
  abandon(job: Job, id: JobId): Promise<void>
}): Worker {
  const { store, log } = deps
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

  const attemptOnce = async (claim: ClaimedSlackJob) => {
    const parsed = Job.safeParse({ ...claim.payload, kind: claim.kind })
    if (!parsed.success) {
      log.error({ jobId: claim.id, kind: claim.kind }, 'slack job not understood')
      await finishSlackJob(store.db, claim, 'failed', 'not understood')
      return
    }
    const job = parsed.data
    try {
      const followUps = await deps.perform(job, {
        id: claim.id,
        again: claim.attempts > 1,
        async hold() {
          if (!(await extendSlackJob(store.db, claim, lockMs))) throw new ClaimLost()
        },
      })
      await store.db.transaction().execute(async (tx) => {
        if (!(await finishSlackJob(tx, claim, 'done', null))) return
        for (const { kind, ...payload } of followUps)
          await addSlackJob(tx, { id: newId('job') as JobId, kind, payload })
        if (followUps.length > 0) await notify(tx, { kind: 'slack_job' })
      })
      if (followUps.length > 0) kick()
    } catch (error) {
      if (error instanceof ClaimLost) return log.warn({ jobId: claim.id }, 'slack job taken over')
      await settleFailure(job, claim, sortFailure(error), error)
    }
  }

  const settleFailure = async (job: Job, claim: ClaimedSlackJob, failure: Failure, error: unknown) => {
    const facts = { jobId: claim.id, kind: job.kind, attempts: claim.attempts, detail: failure.detail }
    if (failure.kind === 'give-up' || claim.ageMs >= giveUpAfterMs) {
      await deps.abandon(job, claim.id)
      await finishSlackJob(store.db, claim, 'failed', failure.detail)
      return log.error(facts, 'slack job failed')
    }
    const delayMs = failure.afterMs ?? backoffMs(claim.attempts)
    if (failure.pauseAll) pausedUntil = Math.max(pausedUntil, Date.now() + delayMs)
    await postponeSlackJob(store.db, claim, delayMs, failure.detail)
    // An error of ours has a stack worth reading; Slack's may hold what was sent, so only its code is kept.
    const ours = failure.detail === 'error' || error instanceof TypeError ? { err: error } : {}
    log.warn({ ...facts, ...ours, retryMs: delayMs }, 'slack job postponed')
  }

  const start = (claim: ClaimedSlackJob) => {
    const done = attemptOnce(claim)
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
      const waitMs = await step().catch((err: unknown) => {
        log.warn({ err }, 'slack jobs not read')
        return 1_000
      })
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

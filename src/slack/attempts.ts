import { type JobId, type Log, newId } from '../core/index.ts'
import {
  addSlackJob,
  type ClaimedSlackJob,
  extendSlackJob,
  finishSlackJob,
  notify,
  postponeSlackJob,
  type Store,
} from '../store/index.ts'
import { backoffMs, type Failure, sortFailure } from './failures.ts'
import { Job } from './jobs.ts'

/** How long a claim holds; whoever has it holds it anew before each step that cannot be taken back. */
export const lockMs = 90_000
const giveUpAfterMs = 24 * 60 * 60_000

/** One attempt at a job. */
export interface Attempt {
  id: JobId
  /** True when an earlier attempt may have got anywhere. */
  again: boolean
  /** Holds the claim for what comes next; throws, and nothing more may be done, when it was lost. */
  hold(): Promise<void>
}

/** What a job means; the jobs that follow from it are written in the transaction that ends it. */
export interface JobWork {
  perform(job: Job, attempt: Attempt): Promise<Job[]>
  abandon(job: Job, id: JobId): Promise<void>
}

class ClaimLost extends Error {}

/** Makes one attempt at a claimed job and settles it: done, back later, or given up after a day. */
export function createAttempts(
  deps: {
    store: Store
    log: Log
    /** There is new work. */
    kick: () => void
    /** Slack wants to be left alone for so long. */
    rest: (ms: number) => void
  } & JobWork,
): (claim: ClaimedSlackJob) => Promise<void> {
  const { store, log } = deps

  const attempt = async (claim: ClaimedSlackJob) => {
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
      if (followUps.length > 0) deps.kick()
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
    if (failure.pauseAll) deps.rest(delayMs)
    await postponeSlackJob(store.db, claim, delayMs, failure.detail)
    // An error of ours has a stack worth reading; Slack's may hold what was sent, so only its code is kept.
    const ours = failure.detail === 'error' || error instanceof TypeError ? { err: error } : {}
    log.warn({ ...facts, ...ours, retryMs: delayMs }, 'slack job postponed')
  }

  return attempt
}

import { type JobId, newId, sha256 } from '../core/index.ts'
import { addSlackJob, notify, type Store, takeSlackDelivery } from '../store/index.ts'
import type { Job } from './jobs.ts'

/** Writes work down, once a delivery. */
export interface Intake {
  /**
   * Takes the delivery and its work in one transaction; when this returns, the work survives anything.
   * False when the delivery was taken before: Slack repeats what it believes lost.
   */
  take(deliveryId: string, job: Job): Promise<boolean>
}

export function createIntake(deps: { store: Store; onWork: () => void }): Intake {
  return {
    async take(deliveryId, job) {
      const { kind, ...payload } = job
      const taken = await deps.store.db.transaction().execute(async (tx) => {
        if (!(await takeSlackDelivery(tx, deliveryId))) return false
        await addSlackJob(tx, { id: newId('job') as JobId, kind, payload })
        await notify(tx, { kind: 'slack_job' })
        return true
      })
      if (taken) deps.onWork()
      return taken
    },
  }
}

/** The name of a delivery: Slack's own id, or a digest of the body where it gives none. */
export function deliveryId(kind: string, id: unknown, body: unknown): string {
  return typeof id === 'string' && id !== ''
    ? `${kind}:${id}`
    : `${kind}:sha256:${sha256(JSON.stringify(body))}`
}

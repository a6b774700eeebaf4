import type { Access, Principal } from '../access/index.ts'
import { appendEvents, markSlackJob, type Store } from '../store/index.ts'
import type { Attempt } from './attempts.ts'
import type { AnswerJob } from './jobs.ts'
import { type RefusalReason, standingOf } from './standing.ts'
import type { WebApi } from './web-api.ts'
import { refusalText } from './wording.ts'

export interface Admission {
  /** The principal of an admitted person, made known on first sight, or why there is none. */
  admit: (job: AnswerJob, team: string) => Promise<Principal | RefusalReason>
  /** Records the refusal, once for a job however often it is attempted; returns what the person is told. */
  refuse: (job: AnswerJob, attempt: Attempt, team: string, reason: RefusalReason) => Promise<string>
}

/** Who may have a token: what Slack says of the person now, and what we know of the principal. */
export function createAdmission(deps: {
  access: Pick<Access, 'ensurePrincipal'>
  store: Store
  api: Pick<WebApi, 'user'>
}): Admission {
  const { access, api, store } = deps
  return {
    async admit(job, team) {
      const standing = standingOf(await api.user(job.user), team)
      if (!standing.ok) return standing.reason
      const principal = await access.ensurePrincipal({
        slackTeam: team,
        slackUser: job.user,
        name: standing.name,
      })
      return principal.state === 'active' ? principal : 'deactivated'
    },
    async refuse(job, attempt, team, reason) {
      await store.db.transaction().execute(async (tx) => {
        if (!(await markSlackJob(tx, attempt.id, 'refusalRecorded'))) return
        await appendEvents(tx, [
          { kind: 'slack.refused', data: { reason, slackTeam: team, slackUser: job.user } },
        ])
      })
      return refusalText(reason)
    },
  }
}

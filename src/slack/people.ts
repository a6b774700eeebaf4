import type { Access } from '../access/index.ts'
import type { Log } from '../core/index.ts'
import { listEvents, type Store } from '../store/index.ts'
import { type SlackUser, standingOf } from './standing.ts'

const causePrefix = 'slack: '

/**
 * Follows what Slack says of a person (`user_change`): whoever may no longer hold a token, because of a
 * deactivation or having become a guest, is deactivated at once, and is back when Slack takes it back. A
 * person whom an admin deactivated here stays so, whatever Slack says.
 */
export function createPeople(deps: { access: Access; store: Store; log: Log }): {
  follow(user: SlackUser, teamId: string): Promise<void>
} {
  const { access, log } = deps
  return {
    async follow(user, teamId) {
      const principal = await access.findBySlack(teamId, user.id)
      if (principal === undefined) return
      const standing = standingOf(user, teamId)
      if (!standing.ok) {
        if (principal.state === 'deactivated') return
        await access.deactivate(principal.id, 'slack', `${causePrefix}${standing.reason}`)
        return log.info(
          { principalId: principal.id, reason: standing.reason },
          'principal deactivated by slack',
        )
      }
      if (principal.state === 'active') return
      const [last] = await listEvents(deps.store.db, {
        principalId: principal.id,
        kind: 'principal.deactivated',
        limit: 1,
      })
      const cause = last?.data['cause']
      if (typeof cause !== 'string' || !cause.startsWith(causePrefix)) return
      await access.reactivate(principal.id, 'slack')
      log.info({ principalId: principal.id }, 'principal reactivated by slack')
    },
  }
}

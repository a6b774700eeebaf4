import type { Access, IssuedToken } from '../access/index.ts'
import { AppError, type PrincipalId } from '../core/index.ts'
import type { Store } from '../store/index.ts'
import { createAdmission } from './admission.ts'
import type { Attempt } from './attempts.ts'
import { escapeText, type Message, plain } from './blocks.ts'
import type { AnswerJob, Job } from './jobs.ts'
import { tokenMessage } from './token-message.ts'
import type { SlackOptions, TokenLifetimes } from './types.ts'
import type { WebApi } from './web-api.ts'
import {
  helpText,
  invalidText,
  listMessage,
  notYoursText,
  pointerText,
  refusalText,
  revokedText,
  unknownToolkitText,
} from './wording.ts'

export interface AnswerDeps {
  access: Access
  store: Store
  api: WebApi
  options: Pick<SlackOptions, 'publicUrl' | 'serverName' | 'warning'>
  lifetimes: TokenLifetimes
  toolkits: () => Promise<{ slug: string; title: string }[]>
  onIssued: (principalId: PrincipalId) => void
}

/** What is said, and whether only the asker may see it for good. */
interface Reply {
  message: Message
  private: boolean
}

const open = (text: string): Reply => ({ message: plain(text), private: false })

/** Does what a person asked for and says it where it belongs; repeated, it makes no second token. */
export function createAnswers(deps: AnswerDeps): (job: AnswerJob, attempt: Attempt) => Promise<Job[]> {
  const { access, api } = deps

  const { admit, refuse } = createAdmission(deps)

  const hand = (job: AnswerJob, attempt: Attempt, issued: IssuedToken, replaced: string | null): Reply => {
    deps.onIssued(issued.principal.id)
    const asked =
      (job.ask.verb === 'issue' ? job.ask.lifetimeMs : undefined) ?? deps.lifetimes.defaultLifetimeMs
    const left = issued.expiresAt.getTime() - Date.now()
    // A delivery that Slack held up for hours says what is left, not what was asked.
    const lifetimeMs = Math.abs(asked - left) < Math.max(asked * 0.02, 60_000) ? asked : roundOff(left)
    const message = tokenMessage(issued, { ...deps.options, lifetimeMs, replaced, again: attempt.again })
    return { message, private: true }
  }

  const issue = async (job: AnswerJob, attempt: Attempt, team: string): Promise<Reply> => {
    if (job.ask.verb !== 'issue') return open(helpText(deps.lifetimes))
    const { lifetimeMs, toolkit } = job.ask
    const principal = await admit(job, team)
    if (typeof principal === 'string') return open(await refuse(job, attempt, team, principal))
    if (toolkit !== undefined) {
      const known = await deps.toolkits()
      if (!known.some(({ slug }) => slug === toolkit)) return open(unknownToolkitText(toolkit, known))
    }
    // An attempt that was overtaken must not replace the secret that the other has delivered.
    await attempt.hold()
    const issued = await access.issue({
      principalId: principal.id,
      by: `slack:${job.user}`,
      requestKey: attempt.id,
      lifetimeMs: lifetimeMs ?? deps.lifetimes.defaultLifetimeMs,
      ...(toolkit === undefined ? {} : { toolkit }),
    })
    return hand(job, attempt, issued, null)
  }

  const change = async (job: AnswerJob, attempt: Attempt, team: string): Promise<Reply> => {
    const { ask } = job
    if (ask.verb !== 'revoke' && ask.verb !== 'rotate') return open(helpText(deps.lifetimes))
    const principal =
      ask.verb === 'rotate' ? await admit(job, team) : await access.findBySlack(team, job.user)
    if (typeof principal === 'string') return open(await refuse(job, attempt, team, principal))
    const token = principal === undefined ? undefined : await access.findToken(ask.tokenId)
    if (principal === undefined || token?.principalId !== principal.id) return open(notYoursText(ask.tokenId))
    await attempt.hold()
    if (ask.verb === 'revoke') {
      await access.revoke(token.id, `slack:${job.user}`, 'revoked by its owner')
      return open(revokedText(token.id))
    }
    const issued = await access.rotate({ tokenId: token.id, by: `slack:${job.user}`, requestKey: attempt.id })
    return hand(job, attempt, issued, token.id)
  }

  const list = async (job: AnswerJob, team: string): Promise<Reply> => {
    const principal = await access.findBySlack(team, job.user)
    const tokens = principal === undefined ? [] : await access.list({ principalId: principal.id })
    return { message: listMessage(tokens), private: true }
  }

  const decide = async (job: AnswerJob, attempt: Attempt, team: string): Promise<Reply> => {
    switch (job.ask.verb) {
      case 'issue':
        return await issue(job, attempt, team)
      case 'revoke':
      case 'rotate':
        return await change(job, attempt, team)
      case 'list':
        return await list(job, team)
      case 'help':
        return open(helpText(deps.lifetimes))
      case 'invalid':
        return open(invalidText(job.ask.given, job.ask.problem))
    }
  }

  return async (job, attempt) => {
    const { teamId } = await api.workspace()
    const { place } = job
    const reply = await decide(job, attempt, teamId).catch((error: unknown) => sayRefusal(error))
    if (place.kind === 'mention' && !reply.private) {
      await attempt.hold()
      await api.pointTo({ ...place, user: job.user }, reply.message.text)
      return []
    }
    const channel = await api.directChannel(job.user)
    // Only tidiness: what an earlier attempt left is a message whose key is already dead.
    if (attempt.again) await api.deletePostsOf(channel, attempt.id).catch(() => undefined)
    await attempt.hold()
    await api.post(channel, reply.message, attempt.id)
    if (place.kind !== 'mention') return []
    const text = pointerText(teamId, job.app)
    return [{ kind: 'point', channel: place.channel, threadTs: place.threadTs, user: job.user, text }]
  }
}

/** An error that is an answer: its message was written for the person. Anything else is tried again. */
function sayRefusal(error: unknown): Reply {
  if (error instanceof AppError && error.code === 'principal_deactivated')
    return open(refusalText('deactivated'))
  if (error instanceof AppError && error.status < 500 && error.code !== 'rate_limited')
    return open(`That did not work: ${escapeText(error.message)}`)
  throw error
}

function roundOff(ms: number): number {
  const unit = ms > 2 * 60 * 60_000 ? 60 * 60_000 : 60_000
  return Math.max(60_000, Math.round(ms / unit) * unit)
}

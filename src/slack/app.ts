import { setTimeout as sleep } from 'node:timers/promises'
import { App, type AuthorizeResult } from '@slack/bolt'
import { AppError, type JobId, type PrincipalId, systemClock } from '../core/index.ts'
import { findTokenOfRequest } from '../store/index.ts'
import { createAnswers } from './answer.ts'
import type { Attempt } from './attempts.ts'
import { boltLog } from './bolt-log.ts'
import { sortFailure } from './failures.ts'
import { homeBlocks } from './home.ts'
import { createHttpReceiver } from './http-receiver.ts'
import { createIntake } from './intake.ts'
import type { Job } from './jobs.ts'
import { addListeners } from './listeners.ts'
import { createPeople } from './people.ts'
import { createSocketReceiver } from './socket-receiver.ts'
import type { SlackApp, SlackDeps } from './types.ts'
import { createWebApi } from './web-api.ts'
import { startWorker } from './worker.ts'

/**
 * Starts the Slack side: the way in (Socket Mode with an app token, else the route that `register` adds) and
 * the worker. It needs Slack for nothing at start: whatever is down is asked again when there is work.
 */
export async function createSlack(deps: SlackDeps): Promise<SlackApp> {
  const { access, store, notices, log, options, mcpTokenDefaults: lifetimes } = deps
  const api = createWebApi({ botToken: options.botToken, apiUrl: options.apiUrl, log })
  const http =
    options.appToken === undefined
      ? createHttpReceiver({
          signingSecret: options.signingSecret,
          clock: deps.clock ?? systemClock,
          log,
        })
      : undefined
  const receiver =
    http ??
    createSocketReceiver({
      appToken: options.appToken ?? options.botToken,
      apiUrl: options.apiUrl,
      log,
    })

  const bolt = new App({
    receiver,
    logger: boltLog(log),
    convoStore: false,
    clientOptions: options.apiUrl === undefined ? {} : { slackApiUrl: options.apiUrl },
    // Bolt's own way asks Slack before it takes anything in, and drops the event when Slack is down.
    authorize: async (): Promise<AuthorizeResult> => {
      const known = await Promise.race([api.workspace().catch(() => undefined), soon()])
      return {
        botToken: options.botToken.reveal(),
        ...(known?.botId === undefined ? {} : { botId: known.botId }),
        ...(known === undefined ? {} : { botUserId: known.botUserId }),
      }
    },
  })
  // Whoever delivered must hear of it, so that Slack delivers again.
  bolt.error(async (error) => {
    throw error
  })

  const onIssued = (principalId: PrincipalId) => {
    try {
      deps.onIssued?.(principalId)
    } catch (err) {
      log.error({ err, principalId }, 'issue listener failed')
    }
  }
  const answer = createAnswers({ access, store, api, options, lifetimes, toolkits: deps.toolkits, onIssued })

  const perform = async (job: Job, attempt: Attempt): Promise<Job[]> => {
    switch (job.kind) {
      case 'answer':
        return await answer(job, attempt)
      case 'point':
        await api.pointTo(job, job.text)
        return []
      case 'delete':
        await api.deleteMessage(job.channel, job.ts)
        return []
      case 'home': {
        const { teamId } = await api.workspace()
        const principal = await access.findBySlack(teamId, job.user)
        const tokens = principal === undefined ? [] : await access.list({ principalId: principal.id })
        await api.publishHome(job.user, homeBlocks(tokens, lifetimes))
        return []
      }
    }
  }

  /** A token that could not be delivered is nobody's: it is revoked. */
  const abandon = async (job: Job, id: JobId): Promise<void> => {
    if (job.kind !== 'answer') return
    const tokenId = await findTokenOfRequest(store.db, id)
    if (tokenId !== undefined) await access.revoke(tokenId, 'slack', 'never delivered')
  }

  const worker = startWorker({ store, notices, log, perform, abandon })
  const intake = createIntake({ store, onWork: worker.kick })
  const people = createPeople({ access, store, log })
  addListeners(bolt, { store, log, api, intake, people, lifetimes })
  await receiver.start()

  return {
    register: (server) => http?.register(server),
    async check() {
      try {
        return await api.workspace()
      } catch (error) {
        const { detail } = sortFailure(error)
        throw new AppError(
          'unavailable',
          `Slack does not accept the bot token, or cannot be reached (${detail}); check SLACK_BOT_TOKEN and the way out to slack.com`,
          { cause: error },
        )
      }
    },
    async [Symbol.asyncDispose]() {
      await receiver.stop()
      await worker[Symbol.asyncDispose]()
    },
  }
}

const soon = async () => await sleep(1_000, undefined, { ref: false })

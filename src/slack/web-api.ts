import { webApi } from '@slack/bolt'
import { z } from 'zod'
import type { Log, Secret } from '../core/index.ts'
import type { Block, Message } from './blocks.ts'
import { boltLog } from './bolt-log.ts'
import type { SlackUser } from './standing.ts'

const callTimeoutMs = 10_000

/** Whose token we hold. */
export interface Workspace {
  teamId: string
  team: string
  botUserId: string
  botId: string | undefined
  scopes: string[]
}

/** What we ask of Slack's Web API, and nothing else. Every method throws the client's own errors. */
export interface WebApi {
  /** `auth.test`, asked once and remembered when it succeeded. */
  workspace(): Promise<Workspace>
  user(id: string): Promise<SlackUser>
  /** The channel of our direct conversation with this person; remembered. */
  directChannel(user: string): Promise<string>
  /** The same, if already known. */
  knownDirectChannel(user: string): string | undefined
  post(channel: string, message: Message, job: string): Promise<void>
  pointTo(
    target: { channel: string; user: string; threadTs?: string | undefined },
    text: string,
  ): Promise<void>
  deleteMessage(channel: string, ts: string): Promise<void>
  /** Removes what an earlier attempt of this job has posted; an attempt whose answer was lost leaves such. */
  deletePostsOf(channel: string, job: string): Promise<void>
  publishHome(user: string, blocks: Block[]): Promise<void>
}

const metadataType = 'toolcrib_answer'
const History = z.object({
  messages: z.array(
    z.looseObject({
      ts: z.string(),
      metadata: z
        .looseObject({ event_payload: z.looseObject({ job: z.string() }) })
        .optional()
        .catch(undefined),
    }),
  ),
})

/** A client that gives up after 10 s and never retries by itself: the job does, after a restart as well. */
export function createWebApi(options: { botToken: Secret; apiUrl?: string | undefined; log: Log }): WebApi {
  const client = new webApi.WebClient(options.botToken.reveal(), {
    ...(options.apiUrl === undefined ? {} : { slackApiUrl: options.apiUrl }),
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    timeout: callTimeoutMs,
    allowAbsoluteUrls: false,
    logger: boltLog(options.log),
  })
  let workspace: Workspace | undefined
  const channels = new Map<string, string>()

  const remember = (user: string, channel: string) => {
    if (channels.size >= 10_000) channels.clear()
    channels.set(user, channel)
  }

  return {
    async workspace() {
      if (workspace !== undefined) return workspace
      const me = await client.auth.test()
      workspace = {
        teamId: me.team_id ?? '',
        team: me.team ?? '',
        botUserId: me.user_id ?? '',
        botId: me.bot_id,
        scopes: me.response_metadata?.scopes ?? [],
      }
      return workspace
    },
    async user(id) {
      const answer = await client.users.info({ user: id })
      return (answer.user ?? { id }) as SlackUser
    },
    async directChannel(user) {
      const known = channels.get(user)
      if (known !== undefined) return known
      const opened = await client.conversations.open({ users: user })
      const channel = opened.channel?.id ?? ''
      remember(user, channel)
      return channel
    },
    knownDirectChannel: (user) => channels.get(user),
    async post(channel, message, job) {
      await client.chat.postMessage({
        channel,
        text: message.text,
        blocks: message.blocks,
        unfurl_links: false,
        unfurl_media: false,
        metadata: { event_type: metadataType, event_payload: { job } },
      })
    },
    async pointTo(target, text) {
      await client.chat.postEphemeral({
        channel: target.channel,
        user: target.user,
        text,
        ...(target.threadTs === undefined ? {} : { thread_ts: target.threadTs }),
      })
    },
    async deleteMessage(channel, ts) {
      await client.chat.delete({ channel, ts })
    },
    async deletePostsOf(channel, job) {
      const history = History.parse(
        await client.conversations.history({ channel, limit: 20, include_all_metadata: true }),
      )
      for (const message of history.messages) {
        if (message.metadata?.event_payload.job === job) await client.chat.delete({ channel, ts: message.ts })
      }
    },
    async publishHome(user, blocks) {
      await client.views.publish({ user_id: user, view: { type: 'home', blocks } })
    },
  }
}

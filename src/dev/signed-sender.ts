import { createHmac, randomUUID } from 'node:crypto'

export interface SentAnswer {
  status: number
  /** What our server answered: for a command the text to show, mostly empty. */
  body: string
}

interface Speaker {
  user: string
  text: string
  channel: string
}

/** Posts what Slack would post. Every method answers what came back; `id` makes a delivery the same again. */
export interface SignedSender {
  slashCommand(command: Speaker & { channelName?: string; id?: string }): Promise<SentAnswer>
  directMessage(message: Speaker & { ts?: string; id?: string; botId?: string }): Promise<SentAnswer>
  mention(message: Speaker & { threadTs?: string; id?: string; botId?: string }): Promise<SentAnswer>
  buttonClick(click: {
    user: string
    channel: string
    messageTs: string
    actionId: string
    value?: string
    id?: string
  }): Promise<SentAnswer>
  userChange(change: { user: Record<string, unknown> & { id: string }; id?: string }): Promise<SentAnswer>
  homeOpened(opened: {
    user: string
    channel: string
    tab?: 'home' | 'messages'
    id?: string
  }): Promise<SentAnswer>
  /** Any event of Slack's, in its envelope. */
  event(event: Record<string, unknown>, id?: string): Promise<SentAnswer>
  /** Any body at all, for what Slack would never send. */
  raw(request: {
    body: string
    contentType: string
    timestamp?: number
    signature?: string
    headers?: Record<string, string>
  }): Promise<SentAnswer>
}

/**
 * Speaks to `url` as Slack does: forms for commands, a form with JSON in `payload` for buttons, JSON envelopes for
 * events, each with `X-Slack-Signature` over timestamp and body. Where it lies: it never repeats a delivery by
 * itself, and waits longer than Slack's three seconds.
 */
export function createSignedSender(options: {
  signingSecret: string
  url: string
  teamId: string
  appId?: string
  teamDomain?: string
}): SignedSender {
  const appId = options.appId ?? 'A0CR1B0APP'
  const teamDomain = options.teamDomain ?? 'crib-works'
  // Old-style verification token: still in every body, never to be trusted.
  const token = 'deprecated-verification-token'

  const raw: SignedSender['raw'] = async (request) => {
    const timestamp = String(request.timestamp ?? Math.floor(Date.now() / 1000))
    const signature =
      request.signature ??
      `v0=${createHmac('sha256', options.signingSecret).update(`v0:${timestamp}:${request.body}`).digest('hex')}`
    const response = await fetch(options.url, {
      method: 'POST',
      headers: {
        'content-type': request.contentType,
        'user-agent': 'Slackbot 1.0 (+https://api.slack.com/robots)',
        'x-slack-request-timestamp': timestamp,
        'x-slack-signature': signature,
        ...request.headers,
      },
      body: request.body,
    })
    return { status: response.status, body: await response.text() }
  }
  const form = async (fields: Record<string, string>) =>
    await raw({
      body: new URLSearchParams(fields).toString(),
      contentType: 'application/x-www-form-urlencoded',
    })
  const event: SignedSender['event'] = async (inner, id) =>
    await raw({
      body: JSON.stringify({
        token,
        team_id: options.teamId,
        api_app_id: appId,
        event: inner,
        type: 'event_callback',
        event_id: id ?? `Ev${randomUUID().replaceAll('-', '').slice(0, 10).toUpperCase()}`,
        event_time: Math.floor(Date.now() / 1000),
        authorizations: [
          {
            enterprise_id: null,
            team_id: options.teamId,
            user_id: 'U0CR1B0B0T',
            is_bot: true,
            is_enterprise_install: false,
          },
        ],
        is_ext_shared_channel: false,
      }),
      contentType: 'application/json',
    })
  const triggerId = () =>
    `${Date.now()}.${Math.floor(Math.random() * 1e9)}.${randomUUID().replaceAll('-', '')}`
  const now = () => `${Math.floor(Date.now() / 1000)}.000100`

  return {
    slashCommand: async (command) =>
      await form({
        token,
        team_id: options.teamId,
        team_domain: teamDomain,
        channel_id: command.channel,
        channel_name: command.channelName ?? (command.channel.startsWith('D') ? 'directmessage' : 'tools'),
        user_id: command.user,
        user_name: command.user.toLowerCase(),
        command: '/mcp-token',
        text: command.text,
        api_app_id: appId,
        is_enterprise_install: 'false',
        response_url: 'https://hooks.slack.example/commands/unused',
        trigger_id: command.id ?? triggerId(),
      }),
    directMessage: async (message) =>
      await event(
        {
          type: 'message',
          channel: message.channel,
          channel_type: 'im',
          user: message.user,
          text: message.text,
          ts: message.ts ?? now(),
          event_ts: message.ts ?? now(),
          team: options.teamId,
          ...(message.botId === undefined ? {} : { bot_id: message.botId }),
        },
        message.id,
      ),
    mention: async (message) =>
      await event(
        {
          type: 'app_mention',
          channel: message.channel,
          user: message.user,
          text: `<@U0CR1B0B0T> ${message.text}`,
          ts: now(),
          event_ts: now(),
          team: options.teamId,
          ...(message.threadTs === undefined ? {} : { thread_ts: message.threadTs }),
          ...(message.botId === undefined ? {} : { bot_id: message.botId }),
        },
        message.id,
      ),
    buttonClick: async (click) =>
      await form({
        payload: JSON.stringify({
          type: 'block_actions',
          user: {
            id: click.user,
            username: click.user.toLowerCase(),
            name: click.user,
            team_id: options.teamId,
          },
          api_app_id: appId,
          token,
          container: {
            type: 'message',
            message_ts: click.messageTs,
            channel_id: click.channel,
            is_ephemeral: false,
          },
          trigger_id: click.id ?? triggerId(),
          team: { id: options.teamId, domain: teamDomain },
          enterprise: null,
          is_enterprise_install: false,
          channel: { id: click.channel, name: 'directmessage' },
          message: { type: 'message', ts: click.messageTs, text: '' },
          state: { values: {} },
          response_url: 'https://hooks.slack.example/actions/unused',
          actions: [
            {
              type: 'button',
              action_id: click.actionId,
              block_id: 'b1',
              text: { type: 'plain_text', text: '', emoji: false },
              ...(click.value === undefined ? {} : { value: click.value }),
              action_ts: now(),
            },
          ],
        }),
      }),
    userChange: async (change) =>
      await event(
        {
          type: 'user_change',
          user: { team_id: options.teamId, deleted: false, is_bot: false, ...change.user },
          cache_ts: Math.floor(Date.now() / 1000),
          event_ts: now(),
        },
        change.id,
      ),
    homeOpened: async (opened) =>
      await event(
        {
          type: 'app_home_opened',
          user: opened.user,
          channel: opened.channel,
          tab: opened.tab ?? 'home',
          event_ts: now(),
        },
        opened.id,
      ),
    event,
    raw,
  }
}

import { randomUUID } from 'node:crypto'

/** The installation that speaks: the same in everything that it sends. */
export interface SlackApp {
  teamId: string
  appId: string
  teamDomain: string
}

export interface Speaker {
  user: string
  text: string
  channel: string
}
export type SlashCommand = Speaker & { channelName?: string; id?: string }
export type DirectMessage = Speaker & { ts?: string; id?: string; botId?: string }
export type Mention = Speaker & { threadTs?: string; id?: string; botId?: string }
export interface ButtonClick {
  user: string
  channel: string
  messageTs: string
  actionId: string
  value?: string
  id?: string
}
export interface HomeOpened {
  user: string
  channel: string
  tab?: 'home' | 'messages'
  id?: string
}
type Json = Record<string, unknown>

// Old-style verification token: still in every body, never to be trusted.
const token = 'deprecated-verification-token'

/** What an event comes in. */
export function envelope(app: SlackApp, inner: Json, id?: string): Json {
  return {
    token,
    team_id: app.teamId,
    api_app_id: app.appId,
    event: inner,
    type: 'event_callback',
    event_id: id ?? `Ev${randomUUID().replaceAll('-', '').slice(0, 10).toUpperCase()}`,
    event_time: Math.floor(Date.now() / 1000),
    authorizations: [
      {
        enterprise_id: null,
        team_id: app.teamId,
        user_id: 'U0CR1B0B0T',
        is_bot: true,
        is_enterprise_install: false,
      },
    ],
    is_ext_shared_channel: false,
  }
}

/** The form of a slash command. */
export function commandFields(app: SlackApp, command: SlashCommand): Record<string, string> {
  return {
    token,
    team_id: app.teamId,
    team_domain: app.teamDomain,
    channel_id: command.channel,
    channel_name: command.channelName ?? (command.channel.startsWith('D') ? 'directmessage' : 'tools'),
    user_id: command.user,
    user_name: command.user.toLowerCase(),
    command: '/mcp-token',
    text: command.text,
    api_app_id: app.appId,
    is_enterprise_install: 'false',
    response_url: 'https://hooks.slack.example/commands/unused',
    trigger_id: command.id ?? triggerId(),
  }
}

export function directMessageEvent(app: SlackApp, message: DirectMessage): Json {
  return {
    type: 'message',
    channel: message.channel,
    channel_type: 'im',
    user: message.user,
    text: message.text,
    ts: message.ts ?? now(),
    event_ts: message.ts ?? now(),
    team: app.teamId,
    ...(message.botId === undefined ? {} : { bot_id: message.botId }),
  }
}

export function mentionEvent(app: SlackApp, message: Mention): Json {
  return {
    type: 'app_mention',
    channel: message.channel,
    user: message.user,
    text: `<@U0CR1B0B0T> ${message.text}`,
    ts: now(),
    event_ts: now(),
    team: app.teamId,
    ...(message.threadTs === undefined ? {} : { thread_ts: message.threadTs }),
    ...(message.botId === undefined ? {} : { bot_id: message.botId }),
  }
}

/** What stands in the form's `payload`. */
export function clickPayload(app: SlackApp, click: ButtonClick): Json {
  return {
    type: 'block_actions',
    user: {
      id: click.user,
      username: click.user.toLowerCase(),
      name: click.user,
      team_id: app.teamId,
    },
    api_app_id: app.appId,
    token,
    container: {
      type: 'message',
      message_ts: click.messageTs,
      channel_id: click.channel,
      is_ephemeral: false,
    },
    trigger_id: click.id ?? triggerId(),
    team: { id: app.teamId, domain: app.teamDomain },
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
  }
}

export function userChangeEvent(app: SlackApp, user: Json & { id: string }): Json {
  return {
    type: 'user_change',
    user: { team_id: app.teamId, deleted: false, is_bot: false, ...user },
    cache_ts: Math.floor(Date.now() / 1000),
    event_ts: now(),
  }
}

export function homeOpenedEvent(opened: HomeOpened): Json {
  return {
    type: 'app_home_opened',
    user: opened.user,
    channel: opened.channel,
    tab: opened.tab ?? 'home',
    event_ts: now(),
  }
}

function triggerId(): string {
  return `${Date.now()}.${Math.floor(Math.random() * 1e9)}.${randomUUID().replaceAll('-', '')}`
}

function now(): string {
  return `${Math.floor(Date.now() / 1000)}.000100`
}

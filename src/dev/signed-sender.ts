import { createHmac } from 'node:crypto'
import {
  type ButtonClick,
  clickPayload,
  commandFields,
  type DirectMessage,
  directMessageEvent,
  envelope,
  type HomeOpened,
  homeOpenedEvent,
  type Mention,
  mentionEvent,
  type SlashCommand,
  userChangeEvent,
} from './slack-bodies.ts'

export interface SentAnswer {
  status: number
  /** What our server answered: for a command the text to show, mostly empty. */
  body: string
}

/** Posts what Slack would post. Every method answers what came back; `id` makes a delivery the same again. */
export interface SignedSender {
  slashCommand(command: SlashCommand): Promise<SentAnswer>
  directMessage(message: DirectMessage): Promise<SentAnswer>
  mention(message: Mention): Promise<SentAnswer>
  buttonClick(click: ButtonClick): Promise<SentAnswer>
  userChange(change: { user: Record<string, unknown> & { id: string }; id?: string }): Promise<SentAnswer>
  homeOpened(opened: HomeOpened): Promise<SentAnswer>
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
  const app = {
    teamId: options.teamId,
    appId: options.appId ?? 'A0CR1B0APP',
    teamDomain: options.teamDomain ?? 'crib-works',
  }

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
    await raw({ body: JSON.stringify(envelope(app, inner, id)), contentType: 'application/json' })

  return {
    slashCommand: async (command) => await form(commandFields(app, command)),
    directMessage: async (message) => await event(directMessageEvent(app, message), message.id),
    mention: async (message) => await event(mentionEvent(app, message), message.id),
    buttonClick: async (click) => await form({ payload: JSON.stringify(clickPayload(app, click)) }),
    userChange: async (change) => await event(userChangeEvent(app, change.user), change.id),
    homeOpened: async (opened) => await event(homeOpenedEvent(opened), opened.id),
    event,
    raw,
  }
}

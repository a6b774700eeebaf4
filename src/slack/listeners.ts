import { setTimeout as sleep } from 'node:timers/promises'
import type { App } from '@slack/bolt'
import type { Log } from '../core/index.ts'
import { appendEvents, knowsSlackDelivery, type Store, takeSlackDelivery } from '../store/index.ts'
import { deleteAction } from './blocks.ts'
import { type Ask, parseAsk } from './commands.ts'
import { deliveryId, type Intake } from './intake.ts'
import type { Place } from './jobs.ts'
import type { createPeople } from './people.ts'
import type { SlackUser } from './standing.ts'
import type { TokenLifetimes } from './types.ts'
import type { WebApi } from './web-api.ts'
import { helpText, invalidText, notTakenText, pointerText } from './wording.ts'

export interface ListenerDeps {
  store: Store
  log: Log
  api: WebApi
  intake: Intake
  people: ReturnType<typeof createPeople>
  lifetimes: TokenLifetimes
}

/** Slack gives a command three seconds; asking which conversation it came from may take one. */
const directChannelWaitMs = 1_000

/** Turns what Slack sends into work. A listener that returns has written its work down; one that throws has not. */
export function addListeners(app: App, deps: ListenerDeps): void {
  const { api, intake, lifetimes, log, store } = deps

  app.command('/mcp-token', async ({ command, body, ack }) => {
    const ask = parseAsk(command.text ?? '', 'command', lifetimes)
    const said = sayAtOnce(ask, lifetimes)
    if (said !== undefined) return await ack({ response_type: 'ephemeral', text: said })
    const own = await isOwnConversation(api, command.user_id, command.channel_id)
    try {
      await intake.take(deliveryId('command', command.trigger_id, body), {
        kind: 'answer',
        team: command.team_id,
        user: command.user_id,
        app: command.api_app_id,
        place: { kind: 'command' },
        ask,
      })
    } catch (err) {
      log.error({ err }, 'slack command not taken')
      return await ack({ response_type: 'ephemeral', text: notTakenText })
    }
    if (own) return await ack()
    await ack({ response_type: 'ephemeral', text: pointerText(command.team_id, command.api_app_id) })
  })

  const takeText = async (
    event: { user: string; text: string },
    place: Place,
    body: { event_id: string; team_id: string; api_app_id: string },
  ) => {
    await intake.take(deliveryId('event', body.event_id, body), {
      kind: 'answer',
      team: body.team_id,
      user: event.user,
      app: body.api_app_id,
      place,
      ask: parseAsk(event.text, 'conversation', lifetimes),
    })
  }

  app.event('message', async ({ event, body }) => {
    // In our direct conversation only the person and we speak; edits, joins and our own words are no asks.
    if (event.channel_type !== 'im' || event.subtype !== undefined) return
    if (event.bot_id !== undefined || event.user === undefined) return
    await takeText({ user: event.user, text: event.text ?? '' }, { kind: 'dm' }, body)
  })

  app.event('app_mention', async ({ event, body }) => {
    if (event.user === undefined || event.bot_id !== undefined) {
      // Answering a bot is how two bots talk for ever: it is refused in the record only.
      if (event.bot_id === undefined) return
      await refuseBot(
        store,
        deliveryId('event', body.event_id, body),
        body.team_id,
        event.user ?? event.bot_id,
      )
      return
    }
    const text = event.text.replace(/^[^<]*<@[A-Z0-9]+(\|[^>]*)?>/, '')
    const place: Place = { kind: 'mention', channel: event.channel, threadTs: event.thread_ts }
    await takeText({ user: event.user, text }, place, body)
  })

  app.event('app_home_opened', async ({ event, body }) => {
    if (event.tab !== 'home') return
    await intake.take(deliveryId('event', body.event_id, body), {
      kind: 'home',
      team: body.team_id,
      user: event.user,
    })
  })

  app.event('user_change', async ({ event, body }) => {
    const id = deliveryId('event', body.event_id, body)
    // A late repetition of an old fact must not undo a newer one.
    if (await knowsSlackDelivery(store.db, id)) return
    await deps.people.follow(event.user as SlackUser, body.team_id)
    await takeSlackDelivery(store.db, id)
  })

  app.action(deleteAction, async ({ ack, body }) => {
    if (body.type === 'block_actions') {
      const { container } = body
      if (container['type'] === 'message') {
        await intake.take(deliveryId('action', body.trigger_id, body), {
          kind: 'delete',
          channel: String(container['channel_id']),
          ts: String(container['message_ts']),
        })
      }
    }
    await ack()
  })

  for (const name of ['tokens_revoked', 'app_uninstalled'] as const) {
    app.event(name, async ({ body }) => {
      log.error({ event: name, team: body.team_id }, 'slack took our access away; install the app again')
    })
  }
}

/** What needs no work is said with the acknowledgement. */
function sayAtOnce(ask: Ask, lifetimes: TokenLifetimes): string | undefined {
  if (ask.verb === 'help') return helpText(lifetimes)
  return ask.verb === 'invalid' ? invalidText(ask.given, ask.problem) : undefined
}

/** Whether `channel` is this person's conversation with us, where a pointer to it would be silly. */
async function isOwnConversation(api: WebApi, user: string, channel: string): Promise<boolean> {
  if (!channel.startsWith('D')) return false
  const known = api.knownDirectChannel(user)
  if (known !== undefined) return known === channel
  const asked = api.directChannel(user).catch(() => undefined)
  const waited = sleep(directChannelWaitMs, undefined, { ref: false })
  return (await Promise.race([asked, waited])) === channel
}

async function refuseBot(store: Store, delivery: string, team: string, user: string): Promise<void> {
  await store.db.transaction().execute(async (tx) => {
    if (!(await takeSlackDelivery(tx, delivery))) return
    await appendEvents(tx, [
      { kind: 'slack.refused', data: { reason: 'bot', slackTeam: team, slackUser: user } },
    ])
  })
}

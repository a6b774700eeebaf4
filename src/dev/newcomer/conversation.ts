import { setTimeout as sleep } from 'node:timers/promises'
import type { EmulatedSlack, PersonHandle } from '../emulated-slack.ts'
import type { SignedSender } from '../signed-sender.ts'
import type { SlackMessage } from '../slack-copies.ts'

export interface SeenMessage extends SlackMessage {
  /** The app said it; else the person did. */
  fromApp: boolean
}

/** One person's conversation with the app, as they see it, and what they can do in it. */
export interface Conversation {
  messages(as: PersonHandle): Promise<SeenMessage[]>
  /** Says `text` as this person and answers what the app said to it, waiting at most 5 s. */
  say(as: PersonHandle, text: string): Promise<SeenMessage[]>
  /** Leaves the company, or comes back: Slack tells the app of it, and it has been heard when this settles. */
  leave(as: PersonHandle, gone: boolean): Promise<void>
  /** Presses a button in one of the app's messages. */
  press(as: PersonHandle, button: { ts: string; action: string; value: string }): Promise<void>
}

const waitMs = 5_000

export function createConversation(deps: { slack: EmulatedSlack; sender: SignedSender }): Conversation {
  const { slack, sender } = deps
  // Slack does not show a command that was typed; here it stays, so that one sees what was done.
  const typed = new Set<string>()

  const messages = async (as: PersonHandle): Promise<SeenMessage[]> => {
    const seen = await slack.conversation(slack.people[as].id)
    return seen.map((message) => ({
      ...message,
      fromApp: !typed.has(message.ts) && (message.ephemeral || message.user === slack.botUserId),
    }))
  }

  const command = async (as: PersonHandle, channel: string, text: string) => {
    const user = slack.people[as].id
    const show = async (shown: string) => await slack.addEphemeral(user, channel, shown)
    typed.add(await show(text))
    const [name = ''] = /^\S+/.exec(text) ?? []
    const rest = text.slice(name.length).trim()
    if (name !== '/mcp-token') {
      await show(`\`${name}\` is not a valid command. In this workspace there is \`/mcp-token\`.`)
      return
    }
    const answer = await sender.slashCommand({ user, channel, text: rest })
    if (answer.status !== 200) await show(`\`${name}\` failed: the app answered ${answer.status}.`)
    else if (answer.body !== '') await show(readText(answer.body))
  }

  const settle = async (as: PersonHandle, before: Set<string>) => {
    for (const end = Date.now() + waitMs; ; await sleep(60)) {
      const fresh = (await messages(as)).filter(({ ts, fromApp }) => fromApp && !before.has(ts))
      if (fresh.length > 0 || Date.now() > end) return fresh
    }
  }

  return {
    messages,
    async say(as, text) {
      const person = slack.people[as]
      const channel = await slack.directChannel(person.id)
      const before = new Set((await messages(as)).map(({ ts }) => ts))
      if (text.startsWith('/')) await command(as, channel, text)
      else {
        const ts = await slack.postAs(person.userToken, channel, text)
        await sender.directMessage({ user: person.id, channel, text, ts })
      }
      return await settle(as, before)
    },
    async leave(as, gone) {
      const { id } = slack.people[as]
      slack.setFacts(id, { deleted: gone })
      await sender.userChange({ user: { id, deleted: gone } })
    },
    async press(as, button) {
      const user = slack.people[as].id
      const all = await messages(as)
      const message = all.find(({ ts, fromApp }) => fromApp && ts === button.ts)
      if (message === undefined) return
      await sender.buttonClick({
        user,
        channel: message.channel,
        messageTs: message.ts,
        actionId: button.action,
        value: button.value,
      })
      const shown = JSON.stringify(all)
      for (const end = Date.now() + waitMs; Date.now() < end; await sleep(60))
        if (JSON.stringify(await messages(as)) !== shown) return
    },
  }
}

function readText(body: string): string {
  try {
    const answer: unknown = JSON.parse(body)
    if (answer !== null && typeof answer === 'object' && 'text' in answer) return String(answer.text)
  } catch {
    // A command may answer plain text.
  }
  return body
}

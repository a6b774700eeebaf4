import type { Json } from './slack-emulator-client.ts'

export interface SlackMessage {
  ts: string
  channel: string
  user: string
  text: string
  blocks: Record<string, unknown>[]
  /** Only its addressee sees it. */
  ephemeral: boolean
}

export interface Copies {
  /** Remembers what a method that succeeded has shown, when the emulator will not tell it again. */
  keep: (method: string, form: Json, answer: Json) => void
  ephemerals: (user: string) => SlackMessage[]
  home: (user: string) => Record<string, unknown>[] | undefined
}

/** Copies of what the emulator takes and does not give back: ephemeral messages and Home tabs. */
export function createCopies(): Copies {
  const ephemerals: SlackMessage[] = []
  const homes = new Map<string, Record<string, unknown>[]>()
  const keep: Copies['keep'] = (method, form, answer) => {
    if (answer['ok'] !== true) return
    if (method === 'chat.postEphemeral') {
      ephemerals.push({
        ts: String(answer['message_ts']),
        channel: String(form['channel']),
        user: String(form['user']),
        text: text(form['text']),
        blocks: parseBlocks(form['blocks']),
        ephemeral: true,
      })
    }
    if (method === 'views.publish') {
      const view =
        typeof form['view'] === 'string' ? (JSON.parse(form['view']) as Json) : (form['view'] as Json)
      homes.set(String(form['user_id']), parseBlocks(view['blocks']))
    }
  }
  return {
    keep,
    ephemerals: (user) => ephemerals.filter((message) => message.user === user),
    home: (user) => homes.get(user),
  }
}

/** A message of `conversations.history`. */
export function posting(channel: string, message: Json): SlackMessage {
  return {
    ts: String(message['ts']),
    channel,
    user: String(message['user']),
    text: text(message['text']),
    blocks: parseBlocks(message['blocks']),
    ephemeral: false,
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function parseBlocks(value: unknown): Record<string, unknown>[] {
  const blocks: unknown = typeof value === 'string' && value !== '' ? JSON.parse(value) : value
  return Array.isArray(blocks) ? (blocks as Record<string, unknown>[]) : []
}

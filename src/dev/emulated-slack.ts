import { createEmulator, type Emulator } from 'emulate'
import { createSlackFront, type SlackFront } from './slack-front.ts'

export interface EmulatedPerson {
  id: string
  /** What they type to sign in here: `alice`. */
  handle: string
  name: string
  /** Posts as this person; the newcomer's page needs it to put their words into the conversation. */
  userToken: string
}

export type PersonHandle = 'alice' | 'bob' | 'dana' | 'gary'

export interface EmulatedSlack extends SlackFront {
  teamId: string
  appId: string
  botUserId: string
  botToken: string
  people: Record<PersonHandle, EmulatedPerson>
  /** A public channel that everyone, the app included, is in. */
  generalChannel: string
  [Symbol.asyncDispose](): Promise<void>
}

const teamId = 'T000000001'
const appId = 'A0CR1B0APP'
const botUserId = 'U0CR1B0B0T'
const botId = 'B0CR1B0B0T'

const cast: { handle: PersonHandle; name: string; admin: boolean; facts: Record<string, unknown> }[] = [
  { handle: 'alice', name: 'Alice', admin: false, facts: {} },
  { handle: 'bob', name: 'Bob', admin: false, facts: {} },
  { handle: 'dana', name: 'Dana', admin: true, facts: {} },
  { handle: 'gary', name: 'Gary', admin: false, facts: { is_restricted: true } },
]

/**
 * A Slack workspace "Crib Works" on loopback: Alice and Bob (members), Dana (admin), Gary (guest), and our app's
 * bot. It is the `emulate` package behind a small front (slack-front.ts), which says what each of the two lacks.
 * Everything is in memory; people keep their ids from run to run, messages do not survive.
 */
export async function startEmulatedSlack(options: {
  port: number
  frontPort: number
}): Promise<EmulatedSlack> {
  const botToken = 'xoxb-emulated-toolcrib'
  const tokenOf = (handle: string) => `xoxp-emulated-${handle}`
  const emulator: Emulator = await createEmulator({
    service: 'slack',
    port: options.port,
    seed: {
      slack: {
        team: { name: 'Crib Works', domain: 'crib-works' },
        users: cast.map(({ handle, name, admin }) => ({
          name: handle,
          real_name: name,
          email: `${handle}@crib-works.example`,
          is_admin: admin,
          profile: { display_name: name, real_name: name },
        })),
        channels: [{ name: 'tools', topic: 'Where everyone is' }],
        oauth_apps: [
          {
            app_id: appId,
            client_id: 'emulated',
            client_secret: 'emulated',
            name: 'Toolcrib',
            redirect_uris: [],
            bot_name: 'toolcrib',
            bot_id: botId,
            bot_user_id: botUserId,
            scopes: [],
            user_scopes: [],
          },
        ],
        tokens: [
          {
            token: botToken,
            type: 'bot',
            user: botUserId,
            app_id: appId,
            bot_id: botId,
            bot_user_id: botUserId,
          },
          ...cast.map(({ handle }) => ({ token: tokenOf(handle), type: 'user', user: handle })),
        ],
      },
    },
  })

  const ask = async (method: string, body: Record<string, string>) => {
    const response = await fetch(`${emulator.url}/api/${method}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${botToken}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return (await response.json()) as Record<string, unknown>
  }

  const people = {} as Record<PersonHandle, EmulatedPerson>
  const ids = new Map<string, string>()
  const listed = (await ask('users.list', { limit: '100' }))['members'] as { id: string; name: string }[]
  for (const { handle, name } of cast) {
    const id = `U0CR1B${handle.toUpperCase().padEnd(5, '0').slice(0, 5)}`
    people[handle] = { id, handle, name, userToken: tokenOf(handle) }
    const emulated = listed.find((user) => user.name === handle)?.id
    if (emulated === undefined) throw new Error(`the emulated Slack lost ${handle}`)
    ids.set(id, emulated)
  }
  const channels = (await ask('conversations.list', { limit: '100' }))['channels'] as {
    id: string
    name: string
  }[]
  const generalChannel = channels.find((channel) => channel.name === 'tools')?.id ?? 'C000000001'
  await ask('conversations.join', { channel: generalChannel })

  const front = await createSlackFront({
    port: options.frontPort,
    upstream: emulator.url,
    tokens: new Set([botToken, ...cast.map(({ handle }) => tokenOf(handle))]),
    botToken,
    ids,
    facts: new Map(cast.map(({ handle, facts }) => [people[handle].id, facts])),
  })

  return {
    ...front,
    teamId,
    appId,
    botUserId,
    botToken,
    people,
    generalChannel,
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]()
      await emulator.close()
    },
  }
}

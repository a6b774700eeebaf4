import type { IncomingMessage, ServerResponse } from 'node:http'
import { http } from '../core/index.ts'
import { createCopies, posting, type SlackMessage } from './slack-copies.ts'
import { createEmulatorClient, type Json } from './slack-emulator-client.ts'

export interface SlackFront {
  /** For `slackApiUrl`, ending in `/api/`. */
  apiUrl: string
  /** Changes what `users.info` says of a person: `{ deleted: true }`, `{ is_restricted: true }`, … */
  setFacts(user: string, facts: Record<string, unknown>): void
  /** The person's conversation with the app, made when there is none. */
  directChannel(user: string): Promise<string>
  /** What the person sees there, oldest first: messages, and what only they see in any channel. */
  conversation(user: string): Promise<SlackMessage[]>
  /** What only this person sees, in any channel. */
  ephemerals(user: string): SlackMessage[]
  /** The Home tab last published for this person. */
  home(user: string): Record<string, unknown>[] | undefined
  /** Adds a message only `user` sees, as Slack does with the answer to a slash command; answers its timestamp. */
  addEphemeral(user: string, channel: string, text: string): Promise<string>
  /** Posts as a person, with their own token; answers the message's timestamp. */
  postAs(userToken: string, channel: string, text: string): Promise<string>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * A pass-through in front of the emulator for what it lacks:
 * - it makes up new user ids at every start: here people have fixed ones, swapped in both directions;
 * - it takes any token for the first user: here an unknown one is `invalid_auth`;
 * - `users.info` knows no guests, strangers or deactivated users: here `facts` are laid over its answer;
 * - ephemeral messages and Home tabs cannot be read back: here copies are kept.
 *
 * Where both together still lie: scopes are not enforced and not in the headers; there are no rate limits, no
 * retries and no response URLs; blocks are not validated; `conversations.open` reaches everyone, a bot and a
 * guest as well; the bot is let into every channel; nothing is pushed (src/dev/signed-sender.ts does that).
 */
export async function createSlackFront(options: {
  port: number
  upstream: string
  tokens: Set<string>
  botToken: string
  /** Fixed user id → the emulator's. */
  ids: Map<string, string>
  facts: Map<string, Record<string, unknown>>
}): Promise<SlackFront> {
  const { forward, ask } = createEmulatorClient(options)
  const kept = createCopies()

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? '/'
    const method = /^\/api\/([\w.]+)/.exec(path)?.[1]
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '')
    const contentType = request.headers['content-type'] ?? 'application/x-www-form-urlencoded'
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    const send = (status: number, value: Json) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    }
    if (method === undefined) return send(404, { ok: false, error: 'unknown_method' })
    if (!options.tokens.has(token)) return send(200, { ok: false, error: 'invalid_auth' })
    const form = contentType.includes('json')
      ? (JSON.parse(body) as Json)
      : Object.fromEntries(new URLSearchParams(body))
    const answer = await forward(path, token, contentType, body)
    kept.keep(method, form, answer)
    if (method === 'users.info' && answer['ok'] === true) {
      const user = answer['user'] as Json
      answer['user'] = { ...user, ...options.facts.get(String(user['id'])) }
    }
    send(200, answer)
  }

  const server = http.createServer((request, response) => {
    serve(request, response).catch(() => {
      response
        .writeHead(502, { 'content-type': 'application/json' })
        .end('{"ok":false,"error":"emulator_failed"}')
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, '127.0.0.1', resolve)
  })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : options.port

  const directChannel = async (user: string) => {
    const opened = await ask('conversations.open', { users: user })
    return String((opened['channel'] as Json)['id'])
  }
  return {
    apiUrl: `http://127.0.0.1:${port}/api/`,
    setFacts(user, facts) {
      options.facts.set(user, { ...options.facts.get(user), ...facts })
    },
    directChannel,
    async conversation(user) {
      const channel = await directChannel(user)
      const { messages } = await ask('conversations.history', { channel, limit: 200 })
      const posted = (messages as Json[]).map((message) => posting(channel, message))
      return [...posted, ...kept.ephemerals(user)].toSorted((a, b) => a.ts.localeCompare(b.ts))
    },
    ephemerals: kept.ephemerals,
    home: kept.home,
    async addEphemeral(user, channel, text) {
      const form = { channel, user, text }
      const answer = await ask('chat.postEphemeral', form)
      kept.keep('chat.postEphemeral', form, answer)
      return String(answer['message_ts'])
    },
    async postAs(userToken, channel, text) {
      return String((await ask('chat.postMessage', { channel, text }, userToken))['ts'])
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Access } from '../../src/access/index.ts'
import { createLog, freePort, type Log, Secret, silentLog } from '../../src/core/index.ts'
import { createSignedSender, type SlackMessage, startEmulatedSlack } from '../../src/dev/index.ts'
import { createHttpServer } from '../../src/http/index.ts'
import { createSlack, type SlackDeps } from '../../src/slack/index.ts'
import { listen, type Store } from '../../src/store/index.ts'
import { day, testAccess } from './access.ts'
import { testStore } from './database.ts'
import { startSlackFaults } from './slack-faults.ts'

export const signingSecret = 'emulated-signing-secret'
export const publicUrl = 'https://crib.example'

/** Our Slack app on a real server, an emulated Slack behind a line that can fail, and a sender that signs. */
export async function startSlackHouse(overrides: Partial<SlackDeps> = {}) {
  const stack = new AsyncDisposableStack()
  const store = stack.use(await testStore())
  const slack = stack.use(await startEmulatedSlack({ port: await freePort(), frontPort: 0 }))
  const faults = stack.use(await startSlackFaults(slack.apiUrl))
  const logLines: string[] = []
  const log = createLog({ level: 'debug', name: 'test' }, { write: (line) => void logLines.push(line) })
  const access = stack.use(testAccess(store))
  await store.db
    .insertInto('toolkits')
    .values([
      { slug: 'orders', title: 'Orders', tools: '[]' },
      { slug: 'support', title: 'Support', tools: '[]' },
    ])
    .execute()
  const issuedTo: string[] = []
  const replica = (more: Partial<SlackDeps> = {}) =>
    startReplica({
      store,
      access,
      log,
      apiUrl: faults.apiUrl,
      issuedTo,
      overrides: { ...overrides, ...more },
    })
  const first = stack.use(await replica())
  const sender = createSignedSender({ signingSecret, url: first.url, teamId: slack.teamId })
  const bot = (message: SlackMessage) => message.user === slack.botUserId || message.ephemeral
  const said = async (user: string) => (await slack.conversation(user)).filter(bot)

  return {
    store,
    slack,
    faults,
    access,
    logLines,
    issuedTo,
    app: first.app,
    url: first.url,
    sender,
    replica,
    said,
    /** Waits for `count` messages of ours to this person, and a moment more for one too many. */
    async answers(user: string, count: number, withinMs = 10_000): Promise<SlackMessage[]> {
      await until(async () => (await said(user)).length >= count, withinMs)
      await sleep(150)
      return await said(user)
    },
    async tokenRows() {
      const rows = await store.pool.query<{ id: string; revoked_at: Date | null }>(
        'SELECT id, revoked_at FROM tokens ORDER BY issued_at',
      )
      return rows.rows
    },
    /** Waits until no job is pending, and answers how each ended. */
    async jobsDone(withinMs = 10_000) {
      const read = async () =>
        (await store.pool.query<{ kind: string; state: string }>('SELECT kind, state FROM slack_jobs')).rows
      await until(async () => (await read()).every(({ state }) => state !== 'pending'), withinMs)
      return await read()
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function startReplica(deps: {
  store: Store
  access: Access
  log: Log
  apiUrl: string
  issuedTo: string[]
  overrides: Partial<SlackDeps>
}) {
  const stack = new AsyncDisposableStack()
  const notices = stack.use(listen(deps.store, silentLog))
  const app = stack.use(
    await createSlack({
      access: deps.access,
      store: deps.store,
      notices,
      log: deps.log,
      options: {
        botToken: new Secret('xoxb-emulated-toolcrib'),
        signingSecret: new Secret(signingSecret),
        apiUrl: deps.apiUrl,
        publicUrl,
        serverName: 'toolcrib',
      },
      mcpTokenDefaults: { defaultLifetimeMs: 7 * day, maxLifetimeMs: 30 * day },
      toolkits: async () => [
        { slug: 'orders', title: 'Orders' },
        { slug: 'support', title: 'Support' },
      ],
      onIssued: (principalId) => void deps.issuedTo.push(principalId),
      ...deps.overrides,
    }),
  )
  const server = createHttpServer({
    log: deps.log,
    bodyLimit: 1_000_000,
    requestTimeoutMs: 30_000,
    trustedProxies: [],
    ready: async () => undefined,
  })
  stack.defer(async () => await server.close())
  app.register(server)
  const address = await server.listen({ host: '127.0.0.1', port: 0 })
  return { app, url: `${address}/slack/events`, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

export async function until(holds: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  for (const end = Date.now() + withinMs; !(await holds()); await sleep(25))
    if (Date.now() > end) throw new Error(`did not happen within ${withinMs} ms`)
}

/** The one token in these messages; fails on none or two. */
export function tokenIn(messages: SlackMessage[]): string {
  const found = new Set(JSON.stringify(messages).match(/tcb_[0-9a-z]{12}_[0-9A-Za-z]{49}/g) ?? [])
  const [token, ...more] = found
  if (token === undefined || more.length > 0) throw new Error(`${found.size} tokens in the messages`)
  return token
}

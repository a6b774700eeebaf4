import { createAccess } from '../../src/access/index.ts'
import { Secret, silentLog } from '../../src/core/index.ts'
import { createSlack } from '../../src/slack/index.ts'
import { listen, openStore } from '../../src/store/index.ts'

/** The worker of a replica as a process that a test can kill. It takes nothing in; it answers what is written down. */
const env = (name: string) => process.env[name] ?? ''
const store = openStore({ url: env('TEST_DATABASE_URL'), poolSize: 4, log: silentLog })
const day = 86_400_000
await createSlack({
  access: createAccess({
    store,
    peppers: [{ id: 'p1', value: new Secret('first pepper') }],
    maxLifetimeMs: 30 * day,
    log: silentLog,
  }),
  store,
  notices: listen(store, silentLog),
  log: silentLog,
  options: {
    botToken: new Secret('xoxb-emulated-toolcrib'),
    signingSecret: new Secret(env('TEST_SIGNING_SECRET')),
    apiUrl: env('TEST_API_URL'),
    publicUrl: env('TEST_PUBLIC_URL'),
    serverName: 'toolcrib',
  },
  mcpTokenDefaults: { defaultLifetimeMs: 7 * day, maxLifetimeMs: 30 * day },
  toolkits: async () => [],
})
process.send?.('ready')

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createGateway, egressSocketDir } from './app.ts'
import { noIsolation, red } from './app-words.ts'
import { type Config, parseConfig, processEnvironment, readConfigText } from './config.ts'
import { AppError, createLog, freePort, newId, Secret } from './core/index.ts'
import {
  claimFolder,
  createSignedSender,
  demoHost,
  plainLines,
  registerNewcomer,
  startDemoOrders,
  startEgressProcess,
  startEmulatedSlack,
} from './dev/index.ts'
import { forget } from './main-dev-forget.ts'
import { migrate, openDatabase, openStore } from './store/index.ts'

export interface DevOptions {
  folder: string
  port: number
  json: boolean
  reset: boolean
  version: string
  entry: string
  stop: AbortSignal
}

const sample = fileURLToPath(new URL('../toolcrib.dev.yaml', import.meta.url))

/**
 * Everything on embedded defaults, in one folder: database, emulated Slack, demo API, egress proxy (a process of
 * its own), gateway, newcomer's page. Returns when told to stop and everything is gone again.
 */
export async function runDev(options: DevOptions): Promise<void> {
  // What is wrong with it is said before anything is touched.
  readSample({})
  await using folder = await claimFolder(resolve(options.folder))
  const say = (line: string) => {
    if (!options.json) process.stderr.write(`${line}\n`)
  }
  if (options.reset) {
    say(`forgetting everything in ${folder.path} …`)
    await forget(folder.path)
  }
  const log = options.json
    ? createLog({ level: 'info', name: 'dev' })
    : createLog({ level: 'warn', name: 'dev' }, plainLines(process.stderr))

  // The same ports as last time, so that yesterday's pasted lines and accepted tools still fit.
  const last = await readPorts(folder.path)
  const wantedPort = options.port === 0 ? (last?.gateway ?? 0) : options.port
  const ordersPort = last?.orders ?? (options.port === 0 ? 0 : 7443)
  say('starting the database, the emulated Slack and the demo API …')
  await using open = new AsyncDisposableStack()
  const starts = [
    openDatabase({ url: undefined, stateDir: folder.path, log }).then((it) => open.use(it)),
    startDemoOrders({ port: ordersPort, ...demoKey() }).then((it) => open.use(it)),
    startEmulatedSlack({ port: 0, frontPort: 0 }).then((it) => open.use(it)),
    freePort(wantedPort),
  ] as const
  // Also when one fails: what comes up after the others were closed would keep this process for ever.
  await Promise.allSettled(starts)
  const [database, orders, slack, port] = await Promise.all(starts)
  if (wantedPort !== 0 && port !== wantedPort) {
    say(`port ${wantedPort} is taken; using ${port}: lines pasted into clients earlier do not fit any more`)
  }
  if (ordersPort !== 0 && orders.port !== ordersPort)
    say(`port ${ordersPort} is taken; the demo API listens on ${orders.port}`)

  await writeFile(join(folder.path, portsFile), JSON.stringify({ gateway: port, orders: orders.port }))

  const caFile = join(folder.path, 'demo-ca.pem')
  await writeFile(caFile, orders.ca)
  const signingSecret = new Secret(newId('sign'))
  const environment = {
    DATABASE_URL: database.url,
    SLACK_BOT_TOKEN: slack.botToken,
    SLACK_SIGNING_SECRET: signingSecret.reveal(),
    SLACK_API_URL: slack.apiUrl,
  }
  const settings = { folder: folder.path, port, ordersPort: orders.port, caFile }
  const config = devConfig(settings, environment)

  {
    await using store = openStore({ url: database.url, poolSize: 1, log })
    await migrate(store.db)
  }
  say('starting the egress proxy …')
  const egressConfig = join(folder.path, 'egress.yaml')
  await writeFile(
    egressConfig,
    JSON.stringify({
      state_dir: folder.path,
      log_level: options.json ? 'info' : 'warn',
      egress: { upstream_ca_files: [caFile] },
    }),
  )
  const egress = open.use(
    await startEgressProcess({
      entry: options.entry,
      environment: {
        PATH: processEnvironment.PATH,
        DATABASE_URL: database.url,
        TOOLCRIB_CONFIG: egressConfig,
      },
    }),
  )

  say('starting the gateway …')
  let why = ''
  const gateway = open.use(
    await createGateway({
      config,
      databaseUrl: database.url,
      log,
      version: options.version,
      drainMs: 500,
      stopSandboxesOnClose: true,
      withoutIsolation: ({ details }) => {
        const refused = (details['refused'] ?? []) as { isolation: string; reason: string; cure: string }[]
        why = refused.map((each) => `${each.isolation}: ${each.reason} ${each.cure}`).join(' ')
      },
      extend: (server, parts) => {
        const sender = createSignedSender({
          signingSecret: signingSecret.reveal(),
          url: `http://127.0.0.1:${port}/slack/events`,
          teamId: slack.teamId,
        })
        registerNewcomer(server, {
          slack,
          sender,
          mcpUrl: `http://127.0.0.1:${port}/mcp`,
          ...(parts.isolation === 'none' ? { warning: `${noIsolation} ${why}`.trim() } : {}),
        })
      },
    }),
  )
  await gateway.acceptMovedPorts(demoSources(config), 'npm run dev')
  await gateway.setCredential('ORDERS_KEY', orders.key)
  // Known from the start, so that a shell can ask for their tokens before anybody has opened the page.
  for (const { id, name } of [slack.people.alice, slack.people.bob, slack.people.dana]) {
    await gateway.ensurePerson({ slackTeam: slack.teamId, slackUser: id, name })
  }
  say('looking at the sources …')
  // The first thing a newcomer does is to list the tools; a source that cannot start must not hold them up.
  await Promise.race([gateway.discovered(), sleep(20_000, undefined, { ref: false })])
  const adminKey = await keepAdminKey(folder.path, gateway.url, gateway.firstAdminKey)

  const ready = {
    web: gateway.url,
    mcp: `${gateway.url}/mcp`,
    admin: gateway.url,
    adminKey,
    ca: caFile,
    isolation: gateway.isolation,
    folder: folder.path,
    egressSocket: egressSocketDir(config),
    pids: { gateway: process.pid, egress: egress.pid, database: database.pid },
  }
  if (options.json) process.stdout.write(`${JSON.stringify(ready)}\n`)
  else process.stdout.write(welcome({ ...ready, why }))

  const reason = await Promise.race([
    options.stop.aborted ? 'stop' : once(options.stop, 'abort').then(() => 'stop'),
    egress.ended.then(() => 'egress'),
  ])
  if (reason === 'egress')
    throw new AppError('unavailable', 'the egress proxy ended; everything was stopped. Start again')
  say('\nstopping …')
}

/** The demo API's key is a new one at each start, unless `TOOLCRIB_DEMO_KEY` names one: for tests that search for it. */
function demoKey(): { key?: Secret } {
  const { TOOLCRIB_DEMO_KEY } = processEnvironment
  return TOOLCRIB_DEMO_KEY ? { key: new Secret(TOOLCRIB_DEMO_KEY) } : {}
}

const portsFile = 'ports.json'

async function readPorts(folder: string): Promise<{ gateway: number; orders: number } | undefined> {
  const text = await readFile(join(folder, portsFile), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as { gateway: number; orders: number })
}

/** The sample configuration, or what stands in its place; throws with every problem in it. */
function readSample(environment: Record<string, string>): Config {
  const path = processEnvironment.TOOLCRIB_CONFIG ?? sample
  return parseConfig(readConfigText(path, true), { environment, baseDir: process.cwd(), name: path })
}

/** The sources that reach the demo API. */
function demoSources(config: Config): string[] {
  return Object.entries(config.file.sources)
    .filter(([, { egress }]) => egress.some(({ host }) => host === demoHost))
    .map(([id]) => id)
}

/** The sample configuration with this run's folder and ports, which differ when the usual ones are taken. */
function devConfig(
  run: { folder: string; port: number; ordersPort: number; caFile: string },
  environment: Record<string, string>,
): Config {
  const config = readSample(environment)
  const { orders } = config.file.sources
  if (orders?.environment.ORDERS_URL !== undefined) {
    orders.environment.ORDERS_URL = orders.environment.ORDERS_URL.replace(':7443', `:${run.ordersPort}`)
  }
  const rules = Object.values(config.file.sources).flatMap(({ egress }) => egress)
  for (const rule of rules) if (rule.host === demoHost && rule.port === 7443) rule.port = run.ordersPort
  Object.assign(config.file.listen, { host: '127.0.0.1', port: run.port })
  config.file.egress.upstream_ca_files.push(run.caFile)
  return { ...config, stateDir: run.folder }
}

/**
 * The admin key of this folder: the first start keeps it beside the data, so that the command line works here
 * without being given one. A production server shows it once and keeps nothing.
 */
async function keepAdminKey(folder: string, url: string, made: Secret | undefined): Promise<string> {
  const path = join(folder, 'connection.json')
  const known = made?.reveal() ?? (JSON.parse(readFileSync(path, 'utf8')) as { adminKey: string }).adminKey
  await writeFile(path, JSON.stringify({ url, adminKey: known }), { mode: 0o600 })
  return known
}

/** Lines are plain text; a person at a terminal sees what is dangerous in red. */
function welcome(ready: {
  web: string
  mcp: string
  isolation: string
  folder: string
  why: string
}): string {
  const folder = relative(process.cwd(), ready.folder)
  const sandboxes =
    ready.isolation === 'none'
      ? [
          '',
          ...[noIsolation, ready.why]
            .filter((line) => line !== '')
            .map((line) => `  ${red(line, process.stdout)}`),
        ]
      : [`  Sandboxes      ${ready.isolation}`]
  return [
    '',
    `  Toolcrib is ready. Open  ${ready.web}`,
    '  You are Alice there: type /mcp-token, copy the line for your client, and use it.',
    '',
    `  MCP endpoint   ${ready.mcp}`,
    '  From a shell   npm run --silent toolcrib -- tokens issue --for alice',
    `  Data           ${folder.startsWith('..') ? ready.folder : folder}; the next start finds it again`,
    '  Stop           Ctrl-C. To forget everything: npm run dev -- --reset',
    ...sandboxes,
    '',
    '',
  ].join('\n')
}

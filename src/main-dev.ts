import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createGateway, type Gateway } from './app.ts'
import { noIsolation } from './app-words.ts'
import { type Config, egressSocketDir, processEnvironment } from './config.ts'
import { AppError, createLog, freePort, type Log, newId, parseJson, Secret } from './core/index.ts'
import {
  claimFolder,
  createSignedSender,
  demoHost,
  type EgressProcess,
  type EmulatedSlack,
  type LogLines,
  plainLines,
  rawLines,
  registerNewcomer,
  startDemoOrders,
  startEgressProcess,
  startEmulatedSlack,
} from './dev/index.ts'
import { migrateDatabase } from './main-database.ts'
import {
  demoSources,
  devConfig,
  keepPorts,
  readSample,
  wantedPorts,
  writeEgressConfig,
} from './main-dev-config.ts'
import { endSandboxes, forget } from './main-dev-forget.ts'
import { type Ready, welcome } from './main-dev-ready.ts'
import { openDatabase } from './store/index.ts'

export interface DevOptions {
  folder: string
  port: number
  json: boolean
  reset: boolean
  version: string
  entry: string
  stop: AbortSignal
  /** Told what ends without asking, should there be no patience for `stop`. */
  atOnce: (() => unknown)[]
}

/** What every step of one start needs. */
interface Run extends Omit<DevOptions, 'reset' | 'stop'> {
  open: AsyncDisposableStack
  log: Log
  /** Where every log goes: sentences for a person, JSON for a script. */
  lines: LogLines
  /** Progress, for a person. */
  say: (line: string) => void
}

/**
 * Everything on embedded defaults, in one folder: database, emulated Slack, demo API, egress proxy (a process of
 * its own), gateway, newcomer's page. Returns when told to stop and everything is gone again.
 */
export async function runDev(options: DevOptions): Promise<void> {
  // What is wrong with it is said before anything is touched.
  readSample({})
  await using folder = await claimFolder(resolve(options.folder))
  // Only now: before, they may be those of another run.
  const endAll = async () => {
    if (!(await folder.isTaken())) await endSandboxes(folder.path)
  }
  options.atOnce.push(endAll)
  const say = (line: string) => {
    if (!options.json) process.stderr.write(`${line}\n`)
  }
  if (options.reset) {
    say(`forgetting everything in ${folder.path} …`)
    await forget(folder.path)
  }
  const lines = options.json ? rawLines(process.stderr) : plainLines(process.stderr)
  const log = createLog({ level: options.json ? 'info' : 'warn', name: 'dev' }, lines)
  await using open = new AsyncDisposableStack()
  // Last of all, those that the gateway could not: without a database it knows of none.
  open.defer(endAll)
  const run: Run = { ...options, folder: folder.path, open, log, lines, say }

  say('starting the database, the emulated Slack and the demo API …')
  const { database, orders, slack, ports } = await startSurroundings(run)
  const caFile = await keepFile(run, 'demo-ca.pem', orders.ca)
  const signingSecret = new Secret(newId('sign'))
  const config = devConfig(
    { folder: run.folder, ports, caFile },
    {
      DATABASE_URL: database.url,
      SLACK_BOT_TOKEN: slack.botToken,
      SLACK_SIGNING_SECRET: signingSecret.reveal(),
      SLACK_API_URL: slack.apiUrl,
    },
  )
  await migrateDatabase(config, log)
  say('starting the egress proxy …')
  const egress = await startEgress(run, config)
  options.atOnce.push(() => egress.kill())
  say('starting the gateway …')
  const { gateway, why } = await startGateway(run, config, slack, signingSecret)
  await gateway.acceptMovedPorts(demoSources(config), 'npm run dev')
  await gateway.setCredential('ORDERS_KEY', orders.key)
  // Known from the start, so that a shell can ask for their tokens before anybody has opened the page.
  for (const { id, name } of [slack.people.alice, slack.people.bob, slack.people.dana]) {
    await gateway.ensurePerson({ slackTeam: slack.teamId, slackUser: id, name })
  }
  say('looking at the sources …')
  // The first thing a newcomer does is to list the tools; a source that cannot start must not hold them up.
  await Promise.race([gateway.discovered(), sleep(20_000, undefined, { ref: false })])

  const ready: Ready = {
    web: gateway.url,
    mcp: `${gateway.url}/mcp`,
    admin: gateway.url,
    adminKey: await keepAdminKey(run.folder, gateway),
    ca: await keepFile(run, 'egress-ca.pem', (await gateway.caCertificate()) ?? ''),
    egressSocket: join(egressSocketDir(config), 'proxy.sock'),
    demo: { url: `https://${demoHost}:${orders.port}`, ca: caFile },
    isolation: gateway.isolation,
    folder: run.folder,
    pids: { gateway: process.pid, egress: egress.pid, database: database.pid },
  }
  process.stdout.write(options.json ? `${JSON.stringify(ready)}\n` : welcome(ready, why))
  await untilStopped(options.stop, egress, database.gone)
  say('\nstopping …')
}

/** What stands around Toolcrib elsewhere. */
async function startSurroundings({ open, log, say, folder, port }: Run) {
  const wanted = await wantedPorts(folder, port)
  const starts = [
    openDatabase({ url: undefined, stateDir: folder, log }).then((it) => open.use(it)),
    startDemoOrders({ port: wanted.orders, ...demoKey() }).then((it) => open.use(it)),
    startEmulatedSlack({ port: 0, frontPort: 0 }).then((it) => open.use(it)),
    freePort(wanted.gateway),
  ] as const
  // Also when one fails: what comes up after the others were closed would keep this process for ever.
  await Promise.allSettled(starts)
  const [database, orders, slack, gateway] = await Promise.all(starts)
  if (wanted.gateway !== 0 && gateway !== wanted.gateway) {
    say(
      `port ${wanted.gateway} is taken; using ${gateway}: lines pasted into clients earlier do not fit any more`,
    )
  }
  if (wanted.orders !== 0 && orders.port !== wanted.orders)
    say(`port ${wanted.orders} is taken; the demo API listens on ${orders.port}`)
  const ports = { gateway, orders: orders.port }
  await keepPorts(folder, ports)
  return { database, orders, slack, ports }
}

async function startEgress(run: Run, config: Config): Promise<EgressProcess> {
  return run.open.use(
    await startEgressProcess({
      entry: run.entry,
      lines: run.lines,
      environment: {
        PATH: processEnvironment.PATH,
        DATABASE_URL: config.databaseUrl,
        TOOLCRIB_CONFIG: await writeEgressConfig(config, run.json ? 'info' : 'warn'),
      },
    }),
  )
}

/** The gateway with the newcomer's page; `why`: what stood against every isolation, when there is none. */
async function startGateway(
  run: Run,
  config: Config,
  slack: EmulatedSlack,
  signingSecret: Secret,
): Promise<{ gateway: Gateway; why: string }> {
  const url = `http://127.0.0.1:${config.file.listen.port}`
  let why = ''
  const gateway = run.open.use(
    await createGateway({
      config,
      databaseUrl: config.databaseUrl ?? '',
      log: run.log,
      version: run.version,
      drainMs: 500,
      stopSandboxesOnClose: true,
      withoutIsolation: ({ details }) => {
        const refused = (details['refused'] ?? []) as { isolation: string; reason: string; cure: string }[]
        why = refused.map((each) => `${each.isolation}: ${each.reason} ${each.cure}`).join(' ')
      },
      extend: (server, { isolation }) => {
        const sender = createSignedSender({
          signingSecret: signingSecret.reveal(),
          url: `${url}/slack/events`,
          teamId: slack.teamId,
        })
        registerNewcomer(server, {
          slack,
          sender,
          mcpUrl: `${url}/mcp`,
          ...(isolation === 'none' ? { warning: `${noIsolation} ${why}`.trim() } : {}),
        })
      },
    }),
  )
  return { gateway, why }
}

async function untilStopped(
  stop: AbortSignal,
  egress: EgressProcess,
  gone: Promise<AppError>,
): Promise<void> {
  const reason = await Promise.race([
    stop.aborted ? 'stop' : once(stop, 'abort').then(() => 'stop'),
    egress.ended.then(() => 'egress'),
    gone,
  ])
  if (reason instanceof AppError) throw reason
  if (reason === 'egress')
    throw new AppError('unavailable', 'the egress proxy ended; everything was stopped. Start again')
}

/** The demo API's key is a new one at each start, unless `TOOLCRIB_DEMO_KEY` names one: for tests that search for it. */
function demoKey(): { key?: Secret } {
  const { TOOLCRIB_DEMO_KEY } = processEnvironment
  return TOOLCRIB_DEMO_KEY ? { key: new Secret(TOOLCRIB_DEMO_KEY) } : {}
}

async function keepFile({ folder }: Run, name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

/**
 * The admin key of this folder: the first start keeps it beside the data, so that the command line works here
 * without being given one; where it was lost, the next start makes another. A production server shows it once and
 * keeps nothing.
 */
async function keepAdminKey(folder: string, gateway: Gateway): Promise<string> {
  const path = join(folder, 'connection.json')
  const kept = parseJson(await readFile(path, 'utf8').catch(() => '')) as { adminKey?: string } | undefined
  const adminKey =
    gateway.firstAdminKey?.reveal() ??
    kept?.adminKey ??
    (await gateway.createAdminKey('dev', 'npm run dev')).reveal()
  await writeFile(path, JSON.stringify({ url: gateway.url, adminKey }), { mode: 0o600 })
  return adminKey
}

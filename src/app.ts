import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createAccess, createAdminKeys } from './access/index.ts'
import { registerAdmin } from './admin/index.ts'
import { doctorChecks } from './app-doctor.ts'
import { personChecks } from './app-doctor-person.ts'
import { deriveKey, localPepper } from './app-keys.ts'
import { noIsolation } from './app-words.ts'
import { createCallReaper, createCalls, sourceToRun, startDiscovery } from './calls/index.ts'
import { type CatalogKeeper, createCatalog } from './catalog/index.ts'
import type { Config } from './config.ts'
import type { ConfigFile } from './config-schema.ts'
import { AppError, type Log, newId, type PrincipalId, type Secret } from './core/index.ts'
import { closeServer, createHttpServer, type HttpServer } from './http/index.ts'
import { mcpDefaults, registerMcp } from './mcp/index.ts'
import { checkRules } from './policy/index.ts'
import { createLocalDriver, createRunners, createToolhostClient, type Isolation } from './runners/index.ts'
import { createSlack } from './slack/index.ts'
import {
  egressKeys,
  ensureSystemPrincipal,
  listEvents,
  listen,
  migrate,
  notify,
  openStore,
  startHeartbeat,
} from './store/index.ts'
import { createVault } from './vault/index.ts'

export interface Gateway {
  /** Where it listens: `http://127.0.0.1:7400`. */
  readonly url: string
  readonly isolation: Isolation
  /** The first admin key, when this start made it; shown once. */
  readonly firstAdminKey: Secret | undefined
  /** Seals a credential for everybody, as the admin API does. */
  setCredential(name: string, value: Secret): Promise<void>
  /** Settles when every source was looked at once since the start, whether it answered or not. */
  discovered(): Promise<void>
  /**
   * Accepts tools whose one change since they were accepted is the port that they may reach. Only for whoever moved
   * that port themselves.
   */
  acceptMovedPorts(sourceIds: string[], by: string): Promise<void>
  /** Makes a person known before they were heard of in Slack. */
  ensurePerson(person: { slackTeam: string; slackUser: string; name: string }): Promise<unknown>
  [Symbol.asyncDispose](): Promise<void>
}

export interface GatewayOptions {
  config: Config
  databaseUrl: string
  log: Log
  version: string
  /** How long closing waits for calls in flight, instead of `listen.drain_seconds`. */
  drainMs?: number
  /** For `npm run dev`: sandboxes end with the gateway, and pages of its own are added to the server. */
  stopSandboxesOnClose?: boolean
  extend?: (server: HttpServer, parts: { isolation: Isolation; url: () => string }) => void
  /**
   * Also for `npm run dev`: goes on without isolation where `auto` finds none, and says why before anything runs.
   * Left out, the start fails with the cure.
   */
  withoutIsolation?: (why: AppError) => void
}

const appDir = dirname(dirname(fileURLToPath(import.meta.url)))

/** The folder that holds the egress proxy's socket and nothing else. */
export const egressSocketDir = (config: Config) => join(config.stateDir, 'egress')

/**
 * Builds and starts a gateway: the only place that knows every room. It migrates the database, applies the
 * configuration, and returns when it listens. What was opened is closed in reverse, also when a step fails.
 */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, log } = options
  const { file } = config
  const open = new AsyncDisposableStack()
  try {
    const store = open.use(openStore({ url: options.databaseUrl, poolSize: file.database.pool_size, log }))
    const migrated = await migrate(store.db)
    if (migrated.length > 0) log.info({ migrations: migrated }, 'database migrated')
    const notices = open.use(listen(store, log))
    const deadAfterMs = file.replicas.dead_after_seconds * 1000
    const replica = open.use(
      startHeartbeat({
        store,
        log,
        replica: { id: newId('rep'), kind: 'gateway', host: hostname() },
        everyMs: (deadAfterMs * 2) / 9,
        freshMs: (deadAfterMs * 2) / 3,
      }),
    )

    const peppers = config.peppers ?? [await localPepper(config.stateDir)]
    const lifetimes = {
      defaultLifetimeMs: file.tokens.default_lifetime,
      maxLifetimeMs: file.tokens.max_lifetime,
    }
    const access = open.use(createAccess({ store, peppers, ...lifetimes, log }))
    const adminKeys = createAdminKeys({ store, log })
    const firstAdminKey = await adminKeys.ensureFirst()

    const catalog = createCatalog({ store, log })
    if (await applyConfig(catalog, file, 'configuration file')) log.info({}, 'configuration applied')
    const vault = createVault({ store, log })

    await mkdir(egressSocketDir(config), { recursive: true, mode: 0o711 })
    const sandboxes = {
      stateDir: join(config.stateDir, 'sandboxes'),
      isolation: file.sandbox.isolation,
      nodePath: process.execPath,
      appDir,
      egressSocketDir: egressSocketDir(config),
      readOnlyPaths: file.sandbox.read_only_paths,
      hiddenPaths: [config.stateDir],
      log,
    }
    const driver = await createLocalDriver(sandboxes).catch(async (error: unknown) => {
      const canDoWithout = options.withoutIsolation !== undefined && file.sandbox.isolation === 'auto'
      if (!canDoWithout || !(error instanceof AppError) || error.code !== 'isolation_unavailable') throw error
      options.withoutIsolation?.(error)
      return await createLocalDriver({ ...sandboxes, isolation: 'none' })
    })
    const toolhost = open.use(createToolhostClient())
    const runners = open.use(
      createRunners({
        store,
        notices,
        driver,
        toolhost,
        log,
        replica,
        caCertificate: async () => (await egressKeys(store.db))[0]?.caCertificate,
        limits: {
          memoryBytes: file.sandbox.memory_mb * 1024 * 1024,
          processes: file.sandbox.processes,
          openFiles: file.sandbox.open_files,
          parallelCalls: file.sandbox.parallel_calls,
          queuedCalls: file.sandbox.queued_calls,
        },
        timings: {
          idleStopMs: file.sandbox.idle_stop,
          maxAgeMs: file.sandbox.max_age,
          startDeadlineMs: file.sandbox.start_deadline_seconds * 1000,
          reapAfterSeconds: file.replicas.dead_after_seconds,
        },
        stopAllOnClose: options.stopSandboxesOnClose ?? false,
      }),
    )
    const calls = open.use(
      createCalls({
        store,
        access,
        catalog,
        runners,
        notices,
        log,
        replicaId: replica.id,
        isolation: driver.isolation,
      }),
    )
    open.use(createCallReaper({ store, log, replica, deadAfterSeconds: file.replicas.dead_after_seconds }))
    const discovery = open.use(
      startDiscovery({ catalog, runners, notices, principalId: await ensureSystemPrincipal(store.db), log }),
    )

    // Hides the start of the sandbox and its sources behind the time that a person needs to paste a line.
    const prewarm = (principalId: PrincipalId) => {
      catalog.latest().then(
        ({ sources }) => {
          const enabled = [...sources.values()].filter((source) => source.enabled)
          runners.prewarm(principalId, enabled.map(sourceToRun))
        },
        (err: unknown) => log.warn({ err, principalId }, 'pre-warming failed'),
      )
    }

    const server = createHttpServer({
      log,
      bodyLimit: file.mcp.body_limit_bytes,
      requestTimeoutMs: 60_000,
      trustedProxies: file.mcp.trusted_proxies,
      ready: async () => {
        await store.pool.query('SELECT 1')
      },
    })
    open.defer(
      async () =>
        await closeServer(server, {
          graceMs: options.drainMs ?? file.listen.drain_seconds * 1000,
          endRunning: async () => await calls[Symbol.asyncDispose](),
        }),
    )
    let url = ''
    const publicUrl = () => file.public_url ?? url
    registerMcp(server, {
      access,
      calls,
      log,
      notices,
      notify: async (notice) => await notify(store.db, notice),
      options: {
        ...mcpDefaults,
        version: options.version,
        labelKey: deriveKey((peppers[0] ?? (await localPepper(config.stateDir))).value, 'mcp session label'),
        allowedHosts: [...file.mcp.allowed_hosts, ...hostsOf(file.public_url)],
        allowedOrigins: file.mcp.allowed_origins,
        bodyLimit: file.mcp.body_limit_bytes,
        heartbeatMs: file.mcp.heartbeat_seconds * 1000,
      },
    })

    registerAdmin(server, {
      access,
      adminKeys,
      runners,
      catalog,
      credentials: {
        seal: async (name, scope, scopeId, value, by) => {
          if (scope === 'profile')
            throw new AppError('invalid_input', 'profiles come later; use global or principal')
          await vault.setCredential({ name, scope, scopeId, value, by })
        },
        list: async () => await vault.listCredentials(),
        remove: async ({ name, scope, scopeId }, by) => {
          if (scope === 'profile') return false
          await vault.removeCredential({ name, scope, scopeId, by })
          return true
        },
      },
      events: { listEvents: async (filter) => await listEvents(store.db, filter) },
      doctor: doctorChecks({ store, config, driver, catalog }),
      doctorOf: (person) => personChecks({ store, access, runners, catalog }, person),
      log,
    })

    if (config.slack !== undefined) {
      const slack = open.use(
        await createSlack({
          access,
          store,
          notices,
          log,
          options: {
            botToken: config.slack.botToken,
            signingSecret: config.slack.signingSecret,
            ...(config.slack.appToken === undefined ? {} : { appToken: config.slack.appToken }),
            ...(config.slack.apiUrl === undefined ? {} : { apiUrl: config.slack.apiUrl }),
            publicUrl: file.public_url ?? `http://${file.listen.host}:${file.listen.port}`,
            serverName: file.mcp.server_name,
            ...(driver.isolation === 'none' ? { warning: noIsolation } : {}),
          },
          mcpTokenDefaults: lifetimes,
          toolkits: async () => [...(await catalog.latest()).toolkits.values()],
          onIssued: (principalId) => prewarm(principalId),
        }),
      )
      slack.register(server)
    }
    options.extend?.(server, { isolation: driver.isolation, url: publicUrl })
    url = await server.listen({ host: file.listen.host, port: file.listen.port })
    log.info({ url, isolation: driver.isolation }, 'gateway listens')

    const opened = open.move()
    return {
      url,
      isolation: driver.isolation,
      firstAdminKey,
      setCredential: async (name, value) =>
        await vault.setCredential({ name, scope: 'global', scopeId: '', value, by: 'configuration' }),
      discovered: async () => await discovery.run(),
      acceptMovedPorts: async (sourceIds, by) => await acceptMovedPorts(catalog, sourceIds, by),
      ensurePerson: async (person) => await access.ensurePrincipal(person),
      [Symbol.asyncDispose]: async () => await opened.disposeAsync(),
    }
  } catch (error) {
    await open.disposeAsync()
    throw error
  }
}

/** Writes the configuration to the database, unless a rule in it can match nothing: then nothing is written. */
export async function applyConfig(catalog: CatalogKeeper, file: ConfigFile, by: string): Promise<boolean> {
  const known = await catalog.latest()
  const problems = checkRules(
    { rules: file.policy.rules, toolkits: file.toolkits },
    { sources: Object.keys(file.sources), tools: [...known.tools.values()] },
  )
  if (problems.length > 0) {
    const lines = problems.map((problem) => `  - ${problem.where}: ${problem.message}`)
    throw new AppError(
      'invalid_input',
      `the configuration has rules that can match nothing:\n${lines.join('\n')}`,
    )
  }
  const policy = { sources: file.sources, toolkits: file.toolkits, rules: file.policy.rules }
  return (await catalog.apply(policy, by)).changed
}

async function acceptMovedPorts(catalog: CatalogKeeper, sourceIds: string[], by: string): Promise<void> {
  const moved = (await catalog.listTools()).filter(
    (tool) =>
      sourceIds.includes(tool.sourceId) &&
      tool.review === 'changed' &&
      tool.changes.every(({ path }) => /^\/destination\/\d+\/port$/.test(path)),
  )
  for (const { alias, definitionDigest } of moved) await catalog.acceptTool(alias, definitionDigest, by)
}

function hostsOf(url: string | undefined): string[] {
  return url === undefined ? [] : [new URL(url).hostname]
}

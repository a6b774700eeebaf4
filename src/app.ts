import { createAccess, createAdminKeys } from './access/index.ts'
import { acceptMovedPorts, applyAtStart } from './app-apply.ts'
import { startBackground } from './app-background.ts'
import { openGround } from './app-ground.ts'
import { deriveKey, localPepper } from './app-keys.ts'
import { openSandboxes } from './app-sandboxes.ts'
import { addAdmin, addMcp, addSlack, createServer } from './app-ways-in.ts'
import { createCalls } from './calls/index.ts'
import { createCatalog } from './catalog/index.ts'
import type { Config } from './config.ts'
import type { AppError, Log, Secret } from './core/index.ts'
import { closeServer, type HttpServer, listenAt } from './http/index.ts'
import type { Isolation } from './runners/index.ts'
import { createVault } from './vault/index.ts'

export interface Gateway {
  /** Where it listens: `http://127.0.0.1:7400`. */
  readonly url: string
  readonly isolation: Isolation
  /** The first admin key, when this start made it; shown once. */
  readonly firstAdminKey: Secret | undefined
  /** Another admin key, without being asked for one: for whoever owns this process and its data. */
  createAdminKey(name: string, by: string): Promise<Secret>
  /** The CA that sandboxes trust, PEM: the egress proxy's. */
  caCertificate(): Promise<string | undefined>
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
  extend?: (server: HttpServer, parts: { isolation: Isolation }) => void
  /**
   * Also for `npm run dev`: goes on without isolation where `auto` finds none, and says why before anything runs.
   * Left out, the start fails with the cure.
   */
  withoutIsolation?: (why: AppError) => void
}

/**
 * Builds and starts a gateway: the only place that knows every room, from the ground up; the `app-*.ts` beside it
 * say how each part is set. It migrates the database, applies the configuration, and returns when it listens.
 * What was opened is closed in reverse, also when a step fails.
 */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, log } = options
  const { file } = config
  const open = new AsyncDisposableStack()
  try {
    const ground = await openGround(open, options)
    const { store, notices, replica } = ground

    const [pepper = await localPepper(config.stateDir), ...older] = config.peppers ?? []
    const lifetimes = {
      defaultLifetimeMs: file.tokens.default_lifetime,
      maxLifetimeMs: file.tokens.max_lifetime,
    }
    const access = open.use(createAccess({ store, peppers: [pepper, ...older], ...lifetimes, log }))
    const adminKeys = open.use(createAdminKeys({ store, log }))
    const catalog = createCatalog({ store, log })
    await applyAtStart(catalog, config, log)
    const vault = createVault({ store, log })

    const { driver, runners, caCertificate } = await openSandboxes(open, ground, {
      config,
      log,
      withoutIsolation: options.withoutIsolation,
      stopAllOnClose: options.stopSandboxesOnClose ?? false,
    })
    const { isolation } = driver
    const calls = open.use(
      createCalls({ store, access, catalog, runners, notices, log, replicaId: replica.id, isolation }),
    )
    const background = await startBackground(open, ground, { catalog, runners, config, log })

    const rooms = { config, log, ...ground, access, adminKeys, catalog, vault, driver, runners, calls }
    const server = createServer(rooms)
    open.defer(
      async () =>
        await closeServer(server, {
          graceMs: options.drainMs ?? file.listen.drain_seconds * 1000,
          endRunning: async () => await calls[Symbol.asyncDispose](),
        }),
    )
    const labelKey = deriveKey(pepper.value, 'mcp session label')
    addMcp(server, rooms, { version: options.version, labelKey })
    addAdmin(server, rooms)
    await addSlack(open, server, rooms, { lifetimes, onIssued: (person) => background.prewarm(person) })
    options.extend?.(server, { isolation })
    const url = await listenAt(
      server,
      { host: file.listen.host, port: file.listen.port },
      {
        setting: 'listen',
        cure: 'end what listens there, perhaps another `toolcrib serve`, or name another port',
      },
    )
    // Last of all: it is shown once, and a start that fails shows nothing.
    const firstAdminKey = await adminKeys.ensureFirst()
    log.info({ url, isolation }, 'gateway listens')

    const opened = open.move()
    return {
      url,
      isolation,
      firstAdminKey,
      createAdminKey: async (name, by) => (await adminKeys.create(name, by)).key,
      caCertificate,
      setCredential: async (name, value) =>
        await vault.setCredential({ name, scope: 'global', scopeId: '', value, by: 'configuration' }),
      discovered: async () => await background.discovered(),
      acceptMovedPorts: async (sourceIds, by) => await acceptMovedPorts(catalog, sourceIds, by),
      ensurePerson: async (person) => await access.ensurePrincipal(person),
      [Symbol.asyncDispose]: async () => await opened.disposeAsync(),
    }
  } catch (error) {
    await open.disposeAsync()
    throw error
  }
}

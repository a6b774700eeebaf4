import type { Access, AdminKeys } from './access/index.ts'
import { registerAdmin } from './admin/index.ts'
import { adminCredentials } from './app-credentials.ts'
import { doctorChecks } from './app-doctor.ts'
import { personChecks } from './app-doctor-person.ts'
import { noIsolation } from './app-words.ts'
import type { Calls } from './calls/index.ts'
import type { CatalogKeeper } from './catalog/index.ts'
import type { Config } from './config.ts'
import type { Log, PrincipalId } from './core/index.ts'
import { createHttpServer, type HttpServer } from './http/index.ts'
import { mcpDefaults, registerMcp } from './mcp/index.ts'
import type { RunnerDriver, Runners } from './runners/index.ts'
import { createSlack } from './slack/index.ts'
import { demandAnswer, listEvents, type Notices, notify, type Store } from './store/index.ts'
import type { Vault } from './vault/index.ts'

/** What the ways in lead to. */
interface Rooms {
  config: Config
  log: Log
  store: Store
  notices: Notices
  access: Access
  adminKeys: AdminKeys
  catalog: CatalogKeeper
  vault: Vault
  driver: RunnerDriver
  runners: Runners
  calls: Calls
}

/** The one server that every way in is registered on; not ready while the database does not answer. */
export function createServer({ config, log, store }: Pick<Rooms, 'config' | 'log' | 'store'>): HttpServer {
  const { mcp } = config.file
  return createHttpServer({
    log,
    bodyLimit: mcp.body_limit_bytes,
    requestTimeoutMs: 60_000,
    trustedProxies: mcp.trusted_proxies,
    ready: async () => await demandAnswer(store),
  })
}

/** `/mcp`, for people's agents. */
export function addMcp(
  server: HttpServer,
  rooms: Pick<Rooms, 'config' | 'log' | 'store' | 'notices' | 'access' | 'calls'>,
  own: { version: string; labelKey: Uint8Array },
): void {
  const { access, calls, log, notices, store } = rooms
  const { mcp, public_url: publicUrl } = rooms.config.file
  registerMcp(server, {
    access,
    calls,
    log,
    notices,
    notify: async (notice) => await notify(store.db, notice),
    options: {
      ...mcpDefaults,
      ...own,
      allowedHosts: [...mcp.allowed_hosts, ...(publicUrl === undefined ? [] : [new URL(publicUrl).hostname])],
      allowedOrigins: mcp.allowed_origins,
      bodyLimit: mcp.body_limit_bytes,
      heartbeatMs: mcp.heartbeat_seconds * 1000,
    },
  })
}

/** `/admin/v1`, for admins and the command line. */
export function addAdmin(server: HttpServer, rooms: Omit<Rooms, 'notices' | 'calls'>): void {
  const { access, adminKeys, catalog, log, runners, store, vault } = rooms
  registerAdmin(server, {
    access,
    adminKeys,
    runners,
    catalog,
    credentials: adminCredentials({ catalog, vault }),
    events: { listEvents: async (filter) => await listEvents(store.db, filter) },
    doctor: doctorChecks(rooms),
    doctorOf: (person) => personChecks(rooms, person),
    log,
  })
}

/** The Slack app, where one is configured. */
export async function addSlack(
  open: AsyncDisposableStack,
  server: HttpServer,
  rooms: Omit<Rooms, 'adminKeys' | 'vault' | 'runners' | 'calls'>,
  own: {
    lifetimes: { defaultLifetimeMs: number; maxLifetimeMs: number }
    onIssued: (principalId: PrincipalId) => void
  },
): Promise<void> {
  const { access, catalog, config, driver, log, notices, store } = rooms
  if (config.slack === undefined) return
  const { botToken, signingSecret, appToken, apiUrl } = config.slack
  const { listen, mcp, public_url: publicUrl } = config.file
  const slack = open.use(
    await createSlack({
      access,
      store,
      notices,
      log,
      options: {
        botToken,
        signingSecret,
        ...(appToken === undefined ? {} : { appToken }),
        ...(apiUrl === undefined ? {} : { apiUrl }),
        publicUrl: publicUrl ?? `http://${listen.host}:${listen.port}`,
        serverName: mcp.server_name,
        ...(driver.isolation === 'none' ? { warning: noIsolation } : {}),
      },
      mcpTokenDefaults: own.lifetimes,
      toolkits: async () => [...(await catalog.latest()).toolkits.values()],
      onIssued: own.onIssued,
    }),
  )
  slack.register(server)
}

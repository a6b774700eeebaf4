import { once } from 'node:events'
import { type Config, egressKeysDir, egressSocketDir } from './config.ts'
import type { Log } from './core/index.ts'
import {
  createEgress,
  type EgressLimits,
  giveBackMemory,
  giveBackWhenQuiet,
  keysToStartWith,
  selfTest,
} from './egress/index.ts'
import { demandMigrated, joinDatabase, openStore } from './store/index.ts'

/** Runs the egress proxy until `stop`, and says `ready` on standard output once it listens; with `upstreamCas`. */
export async function runEgress(options: { config: Config; log: Log; stop: AbortSignal }): Promise<void> {
  const { config, log } = options
  giveBackMemory()
  const [url] = await Promise.all([
    joinDatabase({ url: config.databaseUrl, stateDir: config.stateDir }),
    selfTest(log),
  ])
  await using store = openStore({ url, poolSize: config.file.database.pool_size, log })
  await demandMigrated(store.db)
  const keys = await keysToStartWith(store, egressKeysDir(config), Date.now())
  await using _egress = await createEgress({
    store,
    keys,
    log,
    systemRoots: true,
    refusedRanges: config.file.egress.refused_ranges,
    listen: { unixSocketDir: egressSocketDir(config) },
    limits: limitsOf(config),
    metrics: metricsOf(config),
    trustedCas: config.upstreamCas ?? [],
  })
  using _quiet = giveBackWhenQuiet()
  process.stdout.write('ready\n')
  if (!options.stop.aborted) await once(options.stop, 'abort')
}

function metricsOf({ file }: Config): { host: string; port: number } | undefined {
  const { host, port } = file.egress.metrics
  return port === null ? undefined : { host, port }
}

function limitsOf({ file }: Config): Partial<EgressLimits> {
  const set = file.egress.limits
  const mib = 1024 * 1024
  return {
    requestsPerPrincipal: set.requests,
    requests: set.requests_total,
    tunnelsPerPrincipal: set.tunnels,
    tunnels: set.tunnels_total,
    requestsPerMinutePerPrincipal: set.requests_per_minute,
    requestsPerMinute: set.requests_per_minute_total,
    sentPerHourPerPrincipal: set.sent_mib_per_hour * mib,
    sentPerHour: set.sent_mib_per_hour_total * mib,
    idleTimeoutMs: set.idle_seconds * 1_000,
    tunnelIdleTimeoutMs: set.tunnel_idle_seconds * 1_000,
  }
}

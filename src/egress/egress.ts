import type { Server } from 'node:http'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { AppError, newId, systemClock } from '../core/index.ts'
import { demandAnswer, egressCas, listen, type Notice, notify } from '../store/index.ts'
import { assemble } from './assemble.ts'
import { createGuard, systemResolve } from './decision/guard.ts'
import { createRuleLoader } from './decision/rules.ts'
import { createAnnouncer, signingCa } from './keys/announce.ts'
import { createLeaves } from './keys/certificates.ts'
import { joinDeployment } from './keys/join.ts'
import { createInFlight } from './leases/in-flight.ts'
import { createLeases, watchLeases } from './leases/leases.ts'
import { createMetrics } from './records/metrics.ts'
import { createRecorder } from './records/record.ts'
import { createCredentials } from './secrets/credentials.ts'
import { createMint } from './secrets/mint/mint.ts'
import { fromMachine, fromNetwork } from './traffic/caller.ts'
import { closeServer, listenTcp, listenUnix, socketName } from './traffic/listening.ts'
import { defaultLimits, type Egress, type EgressOptions } from './types.ts'
import { createConnect, createTrust } from './upstream/connection.ts'
import { systemDial } from './upstream/dial.ts'
import { failureCode } from './upstream/error.ts'

/** How old a look at a lease, a credential or a minted token may be. */
const maxAgeMs = 500
/** Without notices what is withdrawn ends within this and the time of a look: within a second. */
const defaultWatchMs = 400
const beatMs = 10_000
/** Notices after which nothing that was looked at before may be used. */
const concernsEgress = new Set<Notice['kind']>([
  'catalog',
  'credential',
  'egress_keys',
  'principal',
  'runner',
  'token',
])

/**
 * Starts the proxy: publishes the public keys, listens, and serves until disposed. Disposal refuses new work, ends
 * what runs, and writes the records that are left and what token endpoints still answer. Throws `conflict` when another proxy listens at the same place.
 */
export async function createEgress(options: EgressOptions): Promise<Egress> {
  const { store, keys, log } = options
  const limits = { ...defaultLimits, ...options.limits }
  const now = () => (options.clock ?? systemClock).now()
  if (options.listen.unixSocketDir === undefined && options.listen.tcpHost === undefined) {
    throw new AppError(
      'invalid_input',
      'the egress proxy needs a directory for its socket or an address to listen on',
    )
  }
  await joinDeployment(store, keys)
  const signs = signingCa(await egressCas(store.db), keys.authorities)
  const authority = keys.authorities.get(signs)
  if (authority === undefined) throw new AppError('internal', 'the key folder has no CA')

  await using stack = new AsyncDisposableStack()
  const listeningAt: { address: string; port: number }[] = []
  const leaves = await createLeaves({ authority, now, cacheSize: 1_000, log })
  let prepared: Promise<void> | undefined
  const rules = createRuleLoader({
    store,
    log,
    loaded({ hosts }) {
      prepared = leaves
        .prepare(hosts)
        .catch((err: unknown) => log.warn({ err }, 'certificates could not be prepared'))
    },
  })
  const leases = createLeases({ store, maxAgeMs, log })
  const metrics = createMetrics()
  const recorder = createRecorder({
    store,
    inFlight: createInFlight({ store, lookMaxAgeMs: maxAgeMs, log }),
    metrics,
    log,
    delayMs: 50,
    patienceMs: 5_000,
    maxQueued: 20_000,
    maxQueuedPerPrincipal: 2_000,
  })
  stack.defer(() => recorder.close(5_000))
  stack.defer(() => leases.close())
  const connect = createConnect({
    dial: options.dial ?? systemDial,
    trust: createTrust(options),
    dialTimeoutMs: limits.dialTimeoutMs,
  })
  const guard = createGuard({
    resolve: options.resolve ?? systemResolve,
    listening: () => listeningAt,
    refusedRanges: options.refusedRanges ?? [],
    timeoutMs: limits.dialTimeoutMs,
    lookUps: { perPrincipal: limits.lookUpsPerPrincipal, total: limits.lookUps },
    log,
  })
  const mint = createMint({
    store,
    opening: keys.opening,
    endpoint: {
      check: (destination, address, principalId) => guard.check(destination, { address }, principalId),
      connect,
      errorCode: failureCode,
      timeoutMs: limits.tokenTimeoutMs,
    },
    maxAgeMs,
    now,
    log,
  })
  const credentials = createCredentials({ store, keys: keys.opening, mint, maxAgeMs, log })
  const { front, denier, live, upstream } = assemble({
    leases,
    rulesAt: (version) => rules.at(version),
    credentials,
    guard,
    leaves,
    connect,
    recorder,
    metrics,
    tell: (callIds, sentence) =>
      notify(store.db, { kind: 'egress_denied', callIds, sentence }).catch((err: unknown) =>
        log.debug({ err }, 'a refusal could not be told to its call'),
      ),
    limits,
    now,
    log,
  })
  stack.defer(() => denier.close(2_000))
  stack.defer(() => credentials.close())
  stack.defer(() => mint.close())
  stack.defer(() => upstream.close())
  stack.defer(() => front.close())
  const replica = { id: newId('rep'), kind: 'egress', host: hostname() } as const
  const announcer = createAnnouncer({ store, keys, leaves, signs, replica, log })
  metrics.gauge('live', 'Tunnels and requests under way.', () => live.size)
  metrics.gauge(
    'lookups_overdue',
    'Names not resolved in time, whose look-ups hold their places.',
    () => guard.overdueLookUps,
  )
  metrics.gauge('records_waiting', 'Audit records not yet written.', () => recorder.waiting)
  let metricsPort: number | undefined
  if (options.metrics !== undefined) {
    const ready = async () => {
      await demandAnswer(store)
      if (!recorder.healthy('')) throw new AppError('unavailable', 'records cannot be written')
    }
    // With it comes an HTTP framework, which a proxy without metrics need not hold in memory.
    const { serveMetrics } = await import('./records/metrics-server.ts')
    const served = stack.use(await serveMetrics({ ...options.metrics, metrics, ready, log }))
    listeningAt.push(served)
    metricsPort = served.port
  }

  // What fails is told by the announcer, and tried again at the next beat.
  const announceAgain = () => void announcer.announce(now()).catch(() => undefined)
  const watch = watchLeases({
    leases,
    inUse: () => live.digests(),
    seen: (digest, facts) => live.seen(digest, facts),
    intervalMs: options.watchMs ?? defaultWatchMs,
    log,
  })
  stack.defer(() => watch.stop())
  const notices = listen(store, log)
  stack.use(notices)
  notices.on((notice) => {
    if (!concernsEgress.has(notice.kind)) return
    if (notice.kind === 'egress_keys') announceAgain()
    leases.invalidate()
    credentials.invalidate()
    if (notice.kind === 'credential') credentials.changed()
    if (notice.kind === 'catalog') upstream.drop()
    watch.nudge()
  })

  await announcer.announce(now())
  const beating = setInterval(announceAgain, beatMs)
  stack.defer(async () => {
    clearInterval(beating)
    await announcer
      .leave()
      .catch((err: unknown) => log.warn({ err }, 'the end of this proxy could not be told'))
  })

  // So that the first tunnel to each host need not wait for it; a request loads them too.
  await Promise.resolve(rules.at(0)).catch(() => undefined)
  await prepared

  const servers: Server[] = []
  stack.defer(async () => {
    live.close()
    await Promise.all(servers.map(closeServer))
  })
  const { unixSocketDir, tcpHost, tcpPort } = options.listen
  if (unixSocketDir !== undefined) {
    const server = front.makeOuter(fromMachine)
    servers.push(server)
    const socket = await listenUnix(server, unixSocketDir)
    stack.defer(() => socket.close())
  }
  let port: number | undefined
  if (tcpHost !== undefined) {
    const server = front.makeOuter(fromNetwork)
    servers.push(server)
    const at = await listenTcp(server, tcpHost, tcpPort ?? 0)
    listeningAt.push({ address: at.address, port: at.port })
    port = at.port
  }
  log.info(
    {
      replicaId: replica.id,
      socket: unixSocketDir,
      tcpPort: port,
      metricsPort,
      keys: [...keys.opening.keys()],
      ca: signs,
    },
    'egress proxy ready',
  )

  const resources = stack.move()
  return {
    socketPath: unixSocketDir === undefined ? undefined : join(unixSocketDir, socketName),
    tcpPort: port,
    metricsPort,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

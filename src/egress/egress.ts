import { hostname } from 'node:os'
import { AppError, newId, systemClock } from '../core/index.ts'
import { demandAnswer, egressCas } from '../store/index.ts'
import { keepCurrent } from './keep-current.ts'
import { createAnnouncer, signingCa } from './keys/announce.ts'
import { createLeaves } from './keys/certificates.ts'
import { joinDeployment } from './keys/join.ts'
import { createServing, type Serving } from './serving.ts'
import { openDoors } from './traffic/doors.ts'
import { defaultLimits, type Egress, type EgressOptions } from './types.ts'

/**
 * Starts the proxy: publishes the public keys, listens, and serves until disposed. Disposal refuses new work, ends
 * what runs, and writes the records that are left and what token endpoints still answer. Throws `invalid_input` when it
 * is told nowhere to listen, and `conflict` when another proxy listens at the same place or the keys are not the
 * deployment's.
 */
export async function createEgress(options: EgressOptions): Promise<Egress> {
  const { store, keys, log } = options
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

  // What is made last ends first.
  await using stack = new AsyncDisposableStack()
  const listeningAt: { address: string; port: number }[] = []
  const leaves = await createLeaves({ authority, now, cacheSize: 1_000, log })
  const limits = { ...defaultLimits, ...options.limits }
  const replica = { id: newId('rep'), kind: 'egress', host: hostname() } as const
  const serving = createServing({
    ...options,
    stack,
    replicaId: replica.id,
    leaves,
    limits,
    now,
    listening: () => listeningAt,
  })
  const metricsPort = await openMetrics(options, stack, serving, listeningAt)
  const announcer = createAnnouncer({ store, keys, leaves, signs, replica, now, log })
  await keepCurrent({ ...options, stack, serving, announcer })
  await serving.prepare()
  const doors = await openDoors({ ...serving, stack, at: options.listen, listeningAt })
  log.info(
    {
      replicaId: replica.id,
      socket: options.listen.unixSocketDir,
      tcpPort: doors.tcpPort,
      metricsPort,
      keys: [...keys.opening.keys()],
      ca: signs,
    },
    'egress proxy ready',
  )
  const resources = stack.move()
  return { ...doors, metricsPort, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

/** Serves metrics where they are wanted; the port. */
async function openMetrics(
  { metrics: wanted, store, log }: EgressOptions,
  stack: AsyncDisposableStack,
  { metrics, live, guard, recorder }: Serving,
  listeningAt: { address: string; port: number }[],
): Promise<number | undefined> {
  metrics.gauge('live', 'Tunnels and requests under way.', () => live.size)
  metrics.gauge(
    'lookups_overdue',
    'Names not resolved in time, whose look-ups hold their places.',
    () => guard.overdueLookUps,
  )
  metrics.gauge('records_waiting', 'Audit records not yet written.', () => recorder.waiting)
  if (wanted === undefined) return undefined
  const ready = async () => {
    await demandAnswer(store)
    if (!recorder.healthy('')) throw new AppError('unavailable', 'records cannot be written')
  }
  // With it comes an HTTP framework, which a proxy without metrics need not hold in memory.
  const { serveMetrics } = await import('./records/metrics-server.ts')
  const served = stack.use(await serveMetrics({ ...wanted, metrics, ready, log }))
  listeningAt.push(served)
  return served.port
}

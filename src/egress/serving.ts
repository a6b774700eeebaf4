import type { ReplicaId } from '../core/index.ts'
import { notify } from '../store/index.ts'
import { type Assembled, assemble } from './assemble.ts'
import { createGuard, type Guard, systemResolve } from './decision/guard.ts'
import { createRuleLoader } from './decision/rules.ts'
import { createElapsed } from './elapsed.ts'
import type { Leaves } from './keys/certificates.ts'
import { createInFlight } from './leases/in-flight.ts'
import { createLeases, type Leases } from './leases/leases.ts'
import { createMetrics, type Metrics } from './records/metrics.ts'
import { createRecorder, type Recorder } from './records/record.ts'
import { type Credentials, createCredentials } from './secrets/credentials.ts'
import { createMint } from './secrets/mint/mint.ts'
import type { EgressLimits, EgressOptions } from './types.ts'
import { createConnect, createTrust } from './upstream/connection.ts'
import { systemDial } from './upstream/dial.ts'
import { failureCode } from './upstream/error.ts'

/** How old a look at a lease, a credential or a minted token may be. */
const maxAgeMs = 500

/** All that a proxy serves with, but for the places where it listens. */
export interface Serving extends Pick<Assembled, 'front' | 'live' | 'upstream'> {
  leases: Leases
  credentials: Credentials
  guard: Guard
  recorder: Recorder
  metrics: Metrics
  /** Loads the rules and makes their hosts' certificates, so that no first tunnel waits for them; never rejects. */
  prepare(): Promise<void>
}

/** Makes it; `stack` ends it. */
export function createServing(
  options: Omit<EgressOptions, 'limits' | 'metrics'> & {
    stack: AsyncDisposableStack
    leaves: Leaves
    limits: EgressLimits
    now: () => number
    replicaId: ReplicaId
    /** Where the proxy itself listens, and nothing leads to. */
    listening: () => { address: string; port: number }[]
  },
): Serving {
  const { store, keys, stack, leaves, limits, now, log } = options
  let preparing: Promise<void> | undefined
  const rules = createRuleLoader({
    store,
    log,
    loaded({ hosts }) {
      preparing = leaves
        .prepare(hosts)
        .catch((err: unknown) => log.warn({ err }, 'certificates could not be prepared'))
    },
  })
  const elapsed = createElapsed({
    wall: now,
    slept(ms) {
      log.info({ ms }, 'the machine slept, or its clock was set: what was looked at before is looked at anew')
      credentials.invalidate()
      mint.invalidate()
      credentials.changed()
      // Their upstreams have given up on them, and nobody was there to hear it.
      upstream.drop()
    },
  })
  const leases = createLeases({ store, maxAgeMs, elapsed, log })
  const metrics = createMetrics()
  const recorder = createRecorder({
    store,
    inFlight: createInFlight({ lookMaxAgeMs: maxAgeMs }),
    metrics,
    replicaId: options.replicaId,
    log,
    delayMs: 25,
    patienceMs: 5_000,
    roomMs: limits.recordsTimeoutMs,
    maxQueued: limits.records,
    maxQueuedPerPrincipal: limits.recordsPerPrincipal,
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
    listening: options.listening,
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
    elapsed,
    now,
    log,
  })
  stack.defer(() => denier.close(2_000))
  stack.defer(() => credentials.close())
  stack.defer(() => mint.close())
  stack.defer(() => upstream.close())
  stack.defer(() => front.close())
  return {
    front,
    live,
    upstream,
    leases,
    credentials,
    guard,
    recorder,
    metrics,
    async prepare() {
      // A request loads them too.
      await Promise.resolve(rules.at(0)).catch(() => undefined)
      await preparing
    },
  }
}

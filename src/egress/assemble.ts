import type { Log } from '../core/index.ts'
import { createAllowance } from './bounds/allowance.ts'
import { createCrowd } from './bounds/crowd.ts'
import { createLimit } from './bounds/limits.ts'
import { createLoopShare } from './bounds/loop-share.ts'
import { createSearchShare } from './bounds/search-share.ts'
import type { Guard } from './decision/guard.ts'
import { createJudge } from './decision/judge.ts'
import type { RulesAt } from './decision/rules.ts'
import type { Elapsed } from './elapsed.ts'
import type { Leaves } from './keys/certificates.ts'
import type { Leases } from './leases/leases.ts'
import { createLive, type Live } from './leases/live.ts'
import type { Metrics } from './records/metrics.ts'
import type { Recorder } from './records/record.ts'
import type { Credentials } from './secrets/credentials.ts'
import { createDenier, type Denier } from './traffic/deny.ts'
import { createExchange } from './traffic/exchange.ts'
import { createFront, type Front } from './traffic/front.ts'
import { createBodyHold } from './traffic/held.ts'
import { createPassThrough } from './traffic/pass-through.ts'
import { createStubs } from './traffic/stub.ts'
import type { EgressLimits } from './types.ts'
import type { Connect } from './upstream/connection.ts'
import { createUpstream, type Upstream } from './upstream/upstream.ts'

/** Memory for bodies that are held back until they are whole. */
const heldBytes = 256 * 1024 * 1024

/** Whom a proxy knows, what it may let out to where, and where that is written down. */
export interface Parts {
  leases: Leases
  rulesAt: RulesAt
  credentials: Credentials
  guard: Guard
  leaves: Leaves
  connect: Connect
  recorder: Recorder
  metrics: Metrics
  /** Tells running calls why something of theirs was refused. */
  tell: Parameters<typeof createDenier>[0]['tell']
  limits: EgressLimits
  elapsed: Elapsed
  now: () => number
  log: Log
}

export interface Assembled {
  front: Front
  denier: Denier
  live: Live
  upstream: Upstream
}

/** Puts together everything between a sandbox's connection and an upstream's. */
export function assemble(parts: Parts): Assembled {
  const { limits, recorder, now } = parts
  const live = createLive(parts)
  const share = createLoopShare()
  const upstream = createUpstream({
    connect: parts.connect,
    share,
    idleTimeoutMs: limits.idleTimeoutMs,
    maxHeaderSize: limits.headerBytes,
  })
  const denier = createDenier(parts)
  const hold = createBodyHold({ totalBytes: heldBytes })
  // By a clock that nobody sets: one that is set forward would give everybody all of it anew.
  const allowance = createAllowance({ ...limits, now: () => performance.now() })
  const shared = { ...parts, live, denier, allowance }
  const exchange = createExchange({
    ...shared,
    judge: createJudge(parts),
    upstream,
    requests: createLimit({ perPrincipal: limits.requestsPerPrincipal, total: limits.requests }),
    bodyLimit: limits.bodyBytes,
    decoders: createLimit({ perPrincipal: 4, total: 16 }),
    share: createSearchShare(() => performance.now()),
    webSocketIdleMs: limits.idleTimeoutMs,
    stubs: createStubs({ rulesAt: parts.rulesAt, recorder, hold, now }),
    hold,
  })
  const front = createFront({
    ...shared,
    share,
    tunnels: createLimit({ perPrincipal: limits.tunnelsPerPrincipal, total: limits.tunnels }),
    crowd: createCrowd({
      nameless: limits.namelessConnections,
      perPrincipal: limits.tunnelsPerPrincipal + limits.requestsPerPrincipal,
      total: limits.tunnels + limits.requests,
    }),
    exchange,
    passThrough: createPassThrough({
      ...shared,
      handshakeTimeoutMs: limits.handshakeTimeoutMs,
      idleMs: limits.idleTimeoutMs,
    }),
  })
  return { front, denier, live, upstream }
}

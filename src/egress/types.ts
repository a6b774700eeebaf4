import type { Clock, Log } from '../core/index.ts'
import type { Store } from '../store/index.ts'
import type { Resolve } from './decision/guard.ts'
import type { EgressKeys } from './keys/keys.ts'
import type { ListenOptions } from './traffic/listening.ts'
import type { Dial } from './upstream/dial.ts'

/** What bounds the proxy; times in milliseconds. */
export interface EgressLimits {
  requestsPerPrincipal: number
  requests: number
  tunnelsPerPrincipal: number
  tunnels: number
  /** Requests and CONNECTs that may begin in a minute. */
  requestsPerMinutePerPrincipal: number
  requestsPerMinute: number
  /** Bytes that may be sent in an hour, bodies and heads. */
  sentPerHourPerPrincipal: number
  sentPerHour: number
  /** Connections that have not sent a whole head yet; beyond, the oldest of them is closed. */
  namelessConnections: number
  /** Names that may be looked up at the same time; each holds a thread until the system's resolver gives up. */
  lookUpsPerPrincipal: number
  lookUps: number
  /** Records that wait to be written, beyond which nothing is let out. */
  recordsPerPrincipal: number
  records: number
  /** How long a request waits for room among them. */
  recordsTimeoutMs: number
  /** Largest head of a request or an answer, in bytes. */
  headerBytes: number
  /** Largest body that is held back, because a credential is put into it, in bytes. */
  bodyBytes: number
  /** From the first byte of a head to its end; by HTTP/2 also from the handshake to the end of the preface. */
  headersTimeoutMs: number
  handshakeTimeoutMs: number
  dialTimeoutMs: number
  /** How long asking a token endpoint may take, from looking its host up to the end of its answer. */
  tokenTimeoutMs: number
  /** How long a request may pass no byte in either direction. */
  idleTimeoutMs: number
  /** How long a tunnel may carry no request. */
  tunnelIdleTimeoutMs: number
}

export const defaultLimits: EgressLimits = {
  requestsPerPrincipal: 128,
  requests: 2_000,
  tunnelsPerPrincipal: 256,
  tunnels: 4_000,
  requestsPerMinutePerPrincipal: 12_000,
  requestsPerMinute: 120_000,
  sentPerHourPerPrincipal: 4 * 1024 ** 3,
  sentPerHour: 64 * 1024 ** 3,
  namelessConnections: 512,
  // libuv resolves names on half of its threads, and bin/toolcrib.mjs gives this process 64: five people's six cannot
  // hold all 32, and where as many again wait for them, to come again is the better answer.
  lookUpsPerPrincipal: 6,
  lookUps: 64,
  recordsPerPrincipal: 2_000,
  records: 20_000,
  recordsTimeoutMs: 2_000,
  headerBytes: 32 * 1024,
  bodyBytes: 1024 * 1024,
  headersTimeoutMs: 10_000,
  handshakeTimeoutMs: 10_000,
  dialTimeoutMs: 10_000,
  tokenTimeoutMs: 10_000,
  idleTimeoutMs: 300_000,
  tunnelIdleTimeoutMs: 60_000,
}

export interface EgressOptions {
  store: Store
  keys: EgressKeys
  listen: ListenOptions
  /** PEM certificates that upstreams may chain to besides the system's. */
  trustedCas: string[]
  systemRoots: boolean
  /** Ranges in CIDR that no name may lead to, besides those that are never public. */
  refusedRanges?: readonly string[] | undefined
  limits?: Partial<EgressLimits> | undefined
  /** How often, in milliseconds, what is under way is held against the rights as they are; a notice waits for none. */
  watchMs?: number | undefined
  /** Where metrics are served; left out, nowhere. */
  metrics?: { host: string; port: number } | undefined
  log: Log
  clock?: Clock | undefined
  /** Stands in for DNS, in tests. */
  resolve?: Resolve | undefined
  /** Stands in for TCP, in tests: it sees every address that would be dialled. */
  dial?: Dial | undefined
}

export interface Egress extends AsyncDisposable {
  /** Where it listens; `tcpPort` is the one it got. */
  readonly socketPath: string | undefined
  readonly tcpPort: number | undefined
  readonly metricsPort: number | undefined
}

import type { Log, RunnerId } from '../core/index.ts'
import type { Heartbeat, Notices, Store } from '../store/index.ts'
import type { RunnerDriver, SandboxSpec } from './driver.ts'
import type { ToolhostClient } from './toolhost.ts'
import type { Changes } from './wait.ts'

/** Every wait of the manager, in milliseconds unless it says seconds. */
export interface RunnerTimings {
  /** A runner that nobody held for so long is stopped. */
  idleStopMs: number
  /** A runner older than this is stopped when nobody holds it; null: never. */
  maxAgeMs: number | null
  /** One that is still held so long after that takes no new calls and is stopped when its last one has ended. */
  maxAgeGraceMs: number
  startDeadlineMs: number
  /** How long one call may wait for its runner to become ready. */
  coldCallCapMs: number
  /** How often due work is looked for, and what this replica holds is compared with the database. */
  tickMs: number
  /** How often idle runners are looked for; the holds of dead replicas, every 10 s at least. */
  cullMs: number
  /** How often every ready runner is compared with what really runs. */
  relistMs: number
  /** How often every ready runner's toolhost is asked whether it answers. */
  healthEveryMs: number
  /** How long it may take to answer, in time that this process was awake. */
  healthLimitMs: number
  /** So many times in a row without an answer mean that it hangs, and its sandbox is ended. */
  healthMisses: number
  /** How often sandboxes that belong to nobody are looked for; two sightings this far apart end one. */
  sweepMs: number
  leaseSeconds: number
  /** One step of the reconciler; must stay below the lease. */
  stepMs: number
  reapAfterSeconds: number
  /** A replica keeps a runner for so long after its last call. */
  holdLingerMs: number
  /** How many runners may start at one time, on all replicas together. */
  startingCap: number
  /** Waits before a failed start is tried again, while somebody wants it; then it is given up for `giveUpMs`. */
  startBackoffMs: number[]
  giveUpMs: number
  /** The same for a failure that trying again at once cannot cure. */
  fatalGiveUpMs: number
  /** How long a call may queue for a place in its runner. */
  queueWaitMs: number
  /** Between TERM and KILL of a sandbox. */
  stopGraceMs: number
  /** How long `stop` waits to see the sandbox gone before it says that it is still ending. */
  stopWaitMs: number
  /** How long closing waits for calls in flight. */
  closeGraceMs: number
}

export const defaultTimings: RunnerTimings = {
  idleStopMs: 30 * 60_000,
  maxAgeMs: null,
  maxAgeGraceMs: 24 * 3_600_000,
  startDeadlineMs: 60_000,
  coldCallCapMs: 150_000,
  tickMs: 1_000,
  cullMs: 30_000,
  relistMs: 60_000,
  healthEveryMs: 10_000,
  healthLimitMs: 5_000,
  healthMisses: 3,
  sweepMs: 5 * 60_000,
  leaseSeconds: 30,
  stepMs: 20_000,
  reapAfterSeconds: 45,
  holdLingerMs: 5_000,
  startingCap: 20,
  startBackoffMs: [5_000, 10_000, 20_000, 40_000, 80_000],
  giveUpMs: 10 * 60_000,
  fatalGiveUpMs: 30_000,
  queueWaitMs: 30_000,
  stopGraceMs: 1_000,
  stopWaitMs: 10_000,
  closeGraceMs: 10_000,
}

export interface RunnersDeps {
  store: Store
  notices: Notices
  driver: RunnerDriver
  toolhost: ToolhostClient
  log: Log
  /** This gateway's row in `replicas`; must outlive the runners. */
  replica: Heartbeat
  /** The egress proxy's CA certificate, PEM; undefined while no proxy has ever started. */
  caCertificate: () => Promise<string | undefined>
  limits: SandboxSpec['limits']
  timings?: Partial<RunnerTimings>
  /** For `npm run dev`: closing ends every sandbox. Otherwise they run on and the next replica adopts them. */
  stopAllOnClose?: boolean
}

/** What the parts of this room share. */
export interface Context extends Omit<RunnersDeps, 'timings'> {
  timings: RunnerTimings
  /** Aborted when the room closes. */
  closing: AbortSignal
  /** Tells this replica at once that it changed a runner's row; the notice tells the others. */
  changed: (id: RunnerId) => void
  /** The driver's hints, by the name of the sandbox. */
  sandboxes: Changes
}

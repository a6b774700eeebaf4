import type { Access } from '../access/index.ts'
import type { CatalogKeeper } from '../catalog/index.ts'
import type { Clock, Log, ReplicaId } from '../core/index.ts'
import type { Isolation, Runners } from '../runners/index.ts'
import type { CallRows, Notices, Store } from '../store/index.ts'
import type { DemandValid } from './arguments.ts'
import type { Flights } from './flights.ts'
import type { Recorder } from './recorder.ts'

export interface CallsOptions {
  store: Pick<Store, 'db' | 'pool'>
  access: Pick<Access, 'ended'>
  catalog: Pick<CatalogKeeper, 'current' | 'latest'>
  runners: Pick<Runners, 'awake' | 'call' | 'find'>
  /** Makes revocation faster than the poll, and brings what is noted of a call; without it calls end half a second later. */
  notices?: Pick<Notices, 'on' | 'caughtUp'>
  log: Log
  replicaId: ReplicaId
  clock?: Clock
  /** The isolation of this deployment's sandboxes, for `whoami`. */
  isolation?: Isolation
  /** Largest result passed on, in bytes of JSON; 4 MiB when left out. */
  maxResultBytes?: number
}

/** What the way of one call needs, built once by `createCalls`. */
export interface CallDeps extends CallsOptions {
  clock: Clock
  maxResultBytes: number
  flights: Flights
  recorder: Recorder
  rows: CallRows
  demandValid: DemandValid
  /** Owns what goes on after the client was answered. */
  background(work: Promise<void>): void
}

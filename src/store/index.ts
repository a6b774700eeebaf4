/**
 * store: the only room that speaks SQL. It opens PostgreSQL, migrates it, listens for notices, and holds every
 * query as a plain function of `(db, arguments)`, one file a table. It decides nothing: rules of state live in
 * the statements' WHERE, meaning lives in the rooms above.
 */
export { type Executor, openStore, type Store } from './database.ts'
export { appendEvents, type EventFilter, listEvents, type StoredEvent } from './events.ts'
export { type Heartbeat, startHeartbeat } from './heartbeat.ts'
export { endLeases, insertLease } from './leases.ts'
export { listen, Notice, type Notices, notify } from './listen.ts'
export { migrate, pendingMigrations } from './migrate.ts'
export { beat, liveReplicas } from './replicas.ts'
export {
  claimRunners,
  clearFailedSandbox,
  noteRunner,
  raiseGeneration,
  releaseClaim,
  wantRunner,
} from './runner-claims.ts'
export { listHolds, reapHolds, releaseHold, takeHold } from './runner-holds.ts'
export {
  type Fence,
  listRunnerEvents,
  moveRunner,
  type RunnerMove,
  recordOrphan,
  startRunner,
} from './runner-moves.ts'
export {
  ensureRunner,
  findRunner,
  findRunnerOwner,
  listRunners,
  type RunnerRow,
  viewRunners,
} from './runners.ts'
export type { Database, RunnerState } from './schema.ts'

/**
 * store: the only room that speaks SQL. It opens PostgreSQL, migrates it, listens for notices, and holds every
 * query as a plain function of `(db, arguments)`, one file a table. It decides nothing: rules of state live in
 * the statements' WHERE, meaning lives in the rooms above.
 */
export {
  type CredentialRow,
  credentialsFor,
  deleteCredential,
  listCredentialNames,
  principalExists,
  putCredential,
} from './credentials.ts'
export { type Executor, openStore, type Store } from './database.ts'
export { type ConfiguredSources, configuredSources, type LeaseFacts, liveLeases } from './egress-decisions.ts'
export { type EgressKeyRow, egressKeys, publishEgressKey } from './egress-keys.ts'
export { appendEvents, type EventFilter, listEvents, type StoredEvent } from './events.ts'
export { listen, Notice, type Notices, notify } from './listen.ts'
export { migrate, pendingMigrations } from './migrate.ts'
export { beat, liveReplicas } from './replicas.ts'
export type { Database, RunnerState } from './schema.ts'

/**
 * store: the only room that speaks SQL. It opens PostgreSQL, migrates it, listens for notices, and holds every
 * query as a plain function of `(db, arguments)`, one file a table. It decides nothing: rules of state live in
 * the statements' WHERE, meaning lives in the rooms above.
 */
export {
  beginCall,
  type CallEnd,
  type CallStanding,
  callStanding,
  finishCall,
  type NewCall,
  reapCalls,
  recordCall,
} from './calls.ts'
export {
  bumpCatalog,
  type CatalogRows,
  catalogVersion,
  loadCatalogRows,
  lockCatalog,
  replacePolicy,
} from './catalog.ts'
export { type Executor, openStore, type Store } from './database.ts'
export { appendEvents, type EventFilter, listEvents, type StoredEvent } from './events.ts'
export { listen, Notice, type Notices, notify } from './listen.ts'
export { migrate, pendingMigrations } from './migrate.ts'
export { beat, liveReplicas } from './replicas.ts'
export type { Database, RunnerState } from './schema.ts'
export {
  disableOtherSources,
  findSource,
  listSources,
  putSource,
  recordDiscovery,
  recordDiscoveryError,
  type StoredSource,
} from './sources.ts'
export {
  acceptFoundDefinition,
  findTool,
  insertTool,
  listTools,
  type StoredTool,
  setToolEnabled,
  takenAliases,
  updateToolFacts,
} from './tools.ts'

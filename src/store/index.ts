/**
 * store: the only room that speaks SQL. It opens PostgreSQL, migrates it, listens for notices, and holds every
 * query as a plain function of `(db, arguments)`, one file a table. It decides nothing: rules of state live in
 * the statements' WHERE, meaning lives in the rooms above.
 */
export {
  countAdminKeys,
  findAdminKey,
  insertAdminKey,
  type ListedAdminKey,
  listAdminKeys,
  lockAdminKeys,
  revokeAdminKey,
  touchAdminKey,
} from './admin-keys.ts'
export {
  type CallEnd,
  type CallRows,
  callStanding,
  createCallRows,
  lastCall,
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
export {
  type CredentialRow,
  credentialById,
  credentialsFor,
  credentialsForAny,
  deleteCredential,
  listCredentialNames,
  principalExists,
  putCredential,
  resealCredential,
  rotateCredential,
  sealedCredentials,
} from './credentials.ts'
export { type Connection, type Executor, onConnection, openStore, type Store } from './database.ts'
export {
  configuredSources,
  type LeaseFacts,
  liveLeases,
  recentCalls,
} from './egress-facts.ts'
export {
  demandEgressKey,
  type EgressCaRow,
  egressCaId,
  egressCas,
  egressKeys,
  isMissingReference,
  liveHolders,
  promoteEgressCa,
  publishEgressKey,
  publishFirstEgressKey,
  retireEgressCa,
  retireEgressKey,
  runnersOlderThanCa,
  trustEgressCa,
  whileChangingKeys,
} from './egress-keys.ts'
export { type EmbeddedPostgres, removeEmbeddedPostgres, startEmbeddedPostgres } from './embedded/server.ts'
export {
  appendEvents,
  clockFoundOff,
  copyEvents,
  type EventFilter,
  listEvents,
  type StoredEvent,
  unnamedRequests,
  type WrittenEvent,
} from './events.ts'
export { type Heartbeat, startHeartbeat } from './heartbeat.ts'
export { endLeases, insertLease } from './leases.ts'
export { listen, Notice, type Notices, notify } from './listen.ts'
export { joinDatabase, openDatabase } from './local-database.ts'
export { demandMigrated, migrate, pendingMigrations } from './migrate.ts'
export {
  closedGrants,
  closeMintClaim,
  type MintClaim,
  putMintedToken,
  releaseMintClaim,
  retireMintedToken,
  type SearchableToken,
  searchableTokens,
  takeMintClaim,
} from './minted.ts'
export {
  ensureSystemPrincipal,
  findPrincipal,
  findPrincipalBySlack,
  listPrincipals,
  lockPrincipal,
  type PrincipalRow,
  setPrincipalState,
  systemPrincipal,
  upsertPerson,
} from './principals.ts'
export { demandAnswer } from './reach.ts'
export { beat, clocksOff, leaveReplicas, liveReplicas } from './replicas.ts'
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
  drainRunner,
  type Fence,
  listRunnerEvents,
  moveRunner,
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
export type { Database, HeldKeys } from './schema.ts'
export { resealToken, tokensByKey, tokensSealedTo } from './sealed-tokens.ts'
export { forgetOldSlackDeliveries, knowsSlackDelivery, takeSlackDelivery } from './slack-deliveries.ts'
export {
  addSlackJob,
  type ClaimedSlackJob,
  claimSlackJob,
  extendSlackJob,
  findTokenOfRequest,
  finishSlackJob,
  forgetOldSlackJobs,
  markSlackJob,
  nextSlackJobInMs,
  postponeSlackJob,
} from './slack-jobs.ts'
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
  endedTokens,
  findToken,
  insertOrReissueToken,
  type ListedToken,
  listTokens,
  lockToken,
  readTokenState,
  requestKeyUsed,
  revokeTokens,
  type TokenState,
  toolkitSlugs,
  touchToken,
} from './tokens.ts'
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

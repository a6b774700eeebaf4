/**
 * core: the words that every room shares. Branded ids, coded errors, the clock, secrets that will not print,
 * the log's shape, the audit union, digests. It does no I/O of its own and knows no other room.
 */
export { type Clock, systemClock } from './clock.ts'
export { canonicalJson, createMac, deeperThan, digestJson, sha256 } from './digest.ts'
export { formatDuration, parseDuration } from './duration.ts'
export { AppError, type ErrorCode, errorCodes, toAppError } from './errors.ts'
export {
  type AuditEvent,
  type CredentialUse,
  type EgressOutcome,
  type EventKind,
  type Outcome,
} from './events.ts'
export {
  type AdminKeyId,
  type Brand,
  type CallId,
  type CredentialId,
  type JobId,
  type LeaseId,
  newId,
  type PrincipalId,
  type ReplicaId,
  type RunnerId,
  randomText,
  type TokenId,
} from './ids.ts'
export { createLog, type Log, silentLog } from './log.ts'
export { Secret } from './secret.ts'

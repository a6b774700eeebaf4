/**
 * core: the words that every room shares. Branded ids, coded errors, the clock, secrets that will not print,
 * the log's shape, the audit union, digests, and the few helpers that more than one floor needs. It keeps no state
 * and knows no other room.
 */
export { unlessAborted } from './abort.ts'
export { type Clock, systemClock } from './clock.ts'
export { der, derOid } from './der.ts'
export { canonicalJson, createMac, deeperThan, digestJson, sha256 } from './digest.ts'
export { formatDuration, parseDuration, sayDuration, understandDuration } from './duration.ts'
export { editDistance } from './edit-distance.ts'
export { AppError, type ErrorCode, errorCodes, toAppError } from './errors.ts'
export {
  type AuditEvent,
  type CredentialUse,
  type EgressOutcome,
  eventKinds,
  type Outcome,
} from './events.ts'
export { refuseUnreadable } from './file-rights.ts'
export {
  type AdminKeyId,
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
export { isRecord, parseJson } from './json.ts'
export { createLog, type Log, silentLog } from './log.ts'
export { nearest } from './nearest.ts'
export { http } from './node-http.ts'
export { isCertificatePem, isKeyPem } from './pem.ts'
export { freePort } from './ports.ts'
export { Secret } from './secret.ts'
export { shellWord } from './shell-word.ts'
export { createTrouble, type Trouble } from './trouble.ts'
export { certificateBundles, withMachineTrust } from './trusted.ts'

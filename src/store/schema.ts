import type { ColumnType, Generated, GeneratedAlways, JSONColumnType } from 'kysely'
import type {
  CallId,
  CredentialId,
  JobId,
  LeaseId,
  Outcome,
  PrincipalId,
  ReplicaId,
  RunnerId,
  TokenId,
} from '../core/index.ts'

type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>
type NullableTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>
/** A bigint that stays far below 2^53; the pool parses int8 to a number (database.ts). */
type Counter = ColumnType<number, number | undefined, number>

/** What a live proxy says that it holds, by ids. */
export interface HeldKeys {
  opens: string[]
  cas: string[]
  /** The CA that it signs with now. */
  signs: string
}

export type RunnerState =
  | 'stopped'
  | 'starting'
  | 'ready'
  | 'lost'
  | 'stopping'
  | 'failed'
  | 'deleting'
  | 'deleted'

/** The tables, written by hand and compared with `db/schema.sql` by eye; `test/store/schema.test.ts` compares the dump. */
export interface Database {
  principals: {
    id: PrincipalId
    kind: 'person' | 'system'
    slack_team: string | null
    slack_user: string | null
    name: string
    state: Generated<'active' | 'deactivated'>
    deactivated_at: NullableTimestamp
    created_at: Timestamp
  }
  tokens: {
    id: TokenId
    principal_id: PrincipalId
    toolkit: string | null
    secret_hash: string
    pepper_id: string
    request_key: string | null
    replaces: TokenId | null
    issued_at: Timestamp
    expires_at: Timestamp
    revoked_at: NullableTimestamp
    revoked_cause: string | null
    last_used_at: NullableTimestamp
    last_used_client: string | null
    last_used_address: string | null
  }
  admin_keys: {
    id: string
    name: string
    key_sha256: string
    created_at: Timestamp
    revoked_at: NullableTimestamp
    last_used_at: NullableTimestamp
  }
  catalog_state: { singleton: Generated<boolean>; version: Counter; config_digest: string | null }
  sources: {
    id: string
    spec: JSONColumnType<Record<string, unknown>>
    spec_digest: string
    enabled: Generated<boolean>
    discovered_spec_digest: string | null
    discovered_at: NullableTimestamp
    discovery_error: string | null
  }
  tools: {
    id: GeneratedAlways<number>
    source_id: string
    remote_name: string
    alias: string
    definition: JSONColumnType<Record<string, unknown>>
    definition_digest: string
    accepted_definition: JSONColumnType<Record<string, unknown>> | null
    accepted_egress: JSONColumnType<unknown[]> | null
    accepted_digest: string | null
    available: Generated<boolean>
    enabled: Generated<boolean>
    first_seen_at: Timestamp
    changed_at: Timestamp
  }
  toolkits: { slug: string; title: string; tools: JSONColumnType<string[]> }
  policy_rules: { position: number; spec: JSONColumnType<Record<string, unknown>> }
  egress_keys: { id: string; public_key: string; created_at: Timestamp }
  egress_cas: {
    id: string
    certificate: string
    trusted_since: Timestamp
    signs_since: NullableTimestamp
  }
  credentials: {
    id: CredentialId
    name: string
    scope: 'global' | 'profile' | 'principal'
    scope_id: Generated<string>
    key_id: string
    sealed: string
    version: Generated<number>
    updated_at: Timestamp
    updated_by: string
  }
  minted_tokens: {
    id: string
    credential_id: CredentialId
    key_id: string
    sealed: string
    minted_at: Timestamp
    renew_at: Timestamp
    expires_at: Timestamp
    recipe: string | null
  }
  former_tokens: {
    number: GeneratedAlways<number>
    id: string
    credential_id: CredentialId
    key_id: string
    sealed: string
    minted_at: Timestamp
    expires_at: Timestamp
    recipe: string | null
  }
  mint_claims: {
    id: string
    credential_id: CredentialId
    version: number
    state: 'minting' | 'uncertain' | 'refused'
    claim: string
    claimed_at: Timestamp
    claimed_until: Timestamp
  }
  replicas: {
    id: ReplicaId
    kind: 'gateway' | 'egress'
    host: string
    started_at: Timestamp
    heartbeat_at: Timestamp
    egress_keys: JSONColumnType<HeldKeys> | null
    clock_ahead_ms: number | null
  }
  runners: {
    id: RunnerId
    principal_id: PrincipalId
    name: string
    home_name: string
    state: Generated<RunnerState>
    phase: string | null
    wanted: Generated<boolean>
    draining: Generated<boolean>
    generation: Counter
    spec_hash: string | null
    sandbox_uid: string | null
    address: string | null
    source_address: string | null
    isolation: string | null
    holds: Generated<number>
    last_activity_at: Timestamp
    lease_owner: ReplicaId | null
    lease_until: NullableTimestamp
    lease_epoch: Counter
    started_at: NullableTimestamp
    ready_at: NullableTimestamp
    state_since: Timestamp
    failures: Generated<number>
    next_attempt_at: Timestamp
    reason: string | null
    message: string | null
  }
  runner_holds: { runner_id: RunnerId; replica_id: ReplicaId; generation: number; since: Timestamp }
  runner_events: {
    id: GeneratedAlways<number>
    runner_id: RunnerId
    generation: number
    at: Timestamp
    from_state: string
    to_state: string
    cause: string
    replica_id: ReplicaId | null
    detail: JSONColumnType<Record<string, unknown>> | null
  }
  leases: {
    id: LeaseId
    secret_sha256: string
    principal_id: PrincipalId
    runner_id: RunnerId
    generation: number
    source_id: string
    profile: string | null
    created_at: Timestamp
    ended_at: NullableTimestamp
  }
  calls: {
    id: CallId
    principal_id: PrincipalId
    token_id: TokenId
    toolkit: string | null
    alias: string
    source_id: string | null
    tool: string | null
    definition_digest: string | null
    arguments_digest: string
    idempotency_key: string | null
    rule: string
    client: string | null
    replica_id: ReplicaId
    runner_id: RunnerId | null
    generation: number | null
    state: 'running' | 'finished'
    outcome: Outcome | null
    code: string | null
    started_at: Timestamp
    finished_at: NullableTimestamp
  }
  events: {
    id: GeneratedAlways<number>
    at: Timestamp
    kind: string
    principal_id: PrincipalId | null
    token_id: TokenId | null
    call_id: CallId | null
    data: JSONColumnType<Record<string, unknown>>
  }
  slack_deliveries: { id: string; received_at: Timestamp }
  slack_jobs: {
    id: JobId
    kind: string
    payload: JSONColumnType<Record<string, unknown>>
    state: Generated<'pending' | 'done' | 'failed'>
    attempts: Generated<number>
    next_attempt_at: Timestamp
    locked_until: NullableTimestamp
    last_error: string | null
    created_at: Timestamp
    finished_at: NullableTimestamp
  }
}

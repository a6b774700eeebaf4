import type { CallId, PrincipalId, ReplicaId, TokenId } from './ids.ts'

/** How a call ended; every call has exactly one (invariant 11). */
export type Outcome = 'ok' | 'tool_error' | 'denied' | 'failed' | 'expired' | 'cancelled' | 'unknown'

/** Which credential was put where on the wire, by name; never its value. */
export interface CredentialUse {
  credential: string
  slot: string
}

interface Kinds {
  'principal.created': { name: string; slackTeam: string | null; slackUser: string | null }
  'principal.deactivated': { by: string; cause: string }
  'principal.reactivated': { by: string }
  'token.issued': { expiresAt: string; toolkit: string | null; by: string }
  'token.reissued': { by: string }
  'token.rotated': { replaces: TokenId; expiresAt: string; by: string }
  'token.revoked': { by: string; cause: string }
  'token.refused': { code: string; address: string }
  'call.finished': {
    alias: string
    sourceId: string | null
    tool: string | null
    toolkit: string | null
    argumentsDigest: string
    decision: 'allow' | 'ask' | 'block'
    rule: string
    outcome: Outcome
    code: string | null
    runnerId: string | null
    generation: number | null
    client: string | null
    durationMs: number
  }
  'runner.changed': { runnerId: string; generation: number; from: string; to: string; cause: string }
  /** Most are written within 0.05 s of the decision; `outcome` is null where the answer was still under way then. */
  'egress.allowed': EgressFacts & {
    /** Of the address that it was let out to: `public`, or the class that its rule excepts; null where nothing is dialled. */
    addressClass: string | null
    credentials: CredentialUse[]
    /** The proxy answered itself, in place of a token endpoint; nothing was sent. */
    stubbed?: true
    outcome: EgressOutcome | null
    /** The proxy that had it, where the outcome is null: no other writes how it ended. */
    replicaId?: ReplicaId
  }
  /** As `egress.allowed`, of a source in warn mode: why it would have been refused. */
  'egress.would_deny': EgressFacts & {
    reason: string
    addressClass: string | null
    credentials: CredentialUse[]
    outcome: EgressOutcome | null
    replicaId?: ReplicaId
  }
  /** How an allowed request ended whose record was written before that. */
  'egress.finished': { requestId: string; sourceId: string } & EgressOutcome
  /** `suppressed`: how many more refusals came since the last one recorded, of this person or of unknown leases. */
  'egress.denied': EgressFacts & { reason: string; suppressed?: number }
  'source.discovered': {
    sourceId: string
    tools: number
    added: string[]
    changed: string[]
    missing: string[]
    /** Tools left out because they cannot be offered, each "name: reason". */
    refused?: string[]
  }
  'source.discovery_failed': { sourceId: string; code: string; message: string }
  'tool.reviewed': { alias: string; definitionDigest: string; by: string }
  'tool.enabled': { alias: string; enabled: boolean; by: string }
  'credential.set': { credential: string; scope: string; keyId: string; by: string }
  'credential.removed': { credential: string; scope: string; by: string }
  /** By `toolcrib keys rotate`, for each credential: the same value, sealed to another key. */
  'credential.resealed': { credential: string; scope: string; fromKeyId: string; keyId: string; by: string }
  'egress_key.published': { keyId: string; by: string }
  'egress_key.retired': { keyId: string; by: string }
  'egress_ca.trusted': { caId: string; by: string }
  'egress_ca.signs': { caId: string; by: string }
  'egress_ca.retired': { caId: string; by: string }
  /** A token endpoint was asked: which minted credential, made from which stored ones; never a value. */
  'credential.minted': MintFacts & { expiresInSeconds: number; rotated: boolean }
  /** `code` is the server's or the connection's, never its text. */
  'credential.mint_failed': MintFacts & { reason: string; code: string }
  'admin_key.created': { adminKeyId: string; name: string; by: string }
  'admin_key.revoked': { adminKeyId: string; by: string }
  'admin.refused': { address: string; code: string }
  'config.applied': { digest: string; by: string }
  'slack.refused': { reason: string; slackTeam: string; slackUser: string }
}

interface MintFacts {
  credential: string
  from: string[]
  kind: string
  host: string
  port: number
  /**
   * By how much the proxy's clock is ahead of the endpoint's, which refused because of it and was asked again by its
   * own; negative where it is behind.
   */
  clockOffSeconds?: number
}

interface EgressFacts {
  requestId: string
  sourceId: string
  /** Null when the lease named no runner that could be told. */
  runnerId: string | null
  generation: number | null
  scheme: string
  host: string
  port: number
  method: string
  path: string
  rule: string
  /** The calls that were in flight for this source when the request was made; one, unless calls overlap. */
  callIds: CallId[]
}

/** What came of a request that was let out. Bytes are of bodies: `bytesIn` to the sandbox, `bytesOut` to the world. */
export interface EgressOutcome {
  /** The upstream's status; null when it never answered. */
  status: number | null
  bytesIn: number
  bytesOut: number
  /** How many copies of a credential were masked in the answer. */
  redactions: number
  /** Credentials whose placeholders the request carried where they are not replaced; left out when none. */
  inert?: string[]
  /** Of a WebSocket: how many frames went each way. */
  frames?: { sent: number; received: number }
  /** Why the request ended without a whole answer, as a code; null when all went well. */
  failure: string | null
}

export type EventKind = keyof Kinds

/** Every kind there is; the compiler sees that none is left out. */
export const eventKinds = Object.keys({
  'principal.created': true,
  'principal.deactivated': true,
  'principal.reactivated': true,
  'token.issued': true,
  'token.reissued': true,
  'token.rotated': true,
  'token.revoked': true,
  'token.refused': true,
  'call.finished': true,
  'runner.changed': true,
  'egress.allowed': true,
  'egress.would_deny': true,
  'egress.finished': true,
  'egress.denied': true,
  'source.discovered': true,
  'source.discovery_failed': true,
  'tool.reviewed': true,
  'tool.enabled': true,
  'credential.set': true,
  'credential.removed': true,
  'credential.resealed': true,
  'egress_key.published': true,
  'egress_key.retired': true,
  'egress_ca.trusted': true,
  'egress_ca.signs': true,
  'egress_ca.retired': true,
  'credential.minted': true,
  'credential.mint_failed': true,
  'admin_key.created': true,
  'admin_key.revoked': true,
  'admin.refused': true,
  'config.applied': true,
  'slack.refused': true,
} satisfies Record<EventKind, true>) as EventKind[]

/** One audited fact: append-only, recorded on error paths too, never with a secret or the contents of a call. */
export type AuditEvent = {
  [Kind in EventKind]: {
    kind: Kind
    principalId?: PrincipalId
    tokenId?: TokenId
    callId?: CallId
    data: Kinds[Kind]
  }
}[EventKind]

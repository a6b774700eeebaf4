import type { CallId, PrincipalId, TokenId } from './ids.ts'

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
  'egress.allowed': EgressFacts & {
    status: number | null
    bytesIn: number
    bytesOut: number
    credentials: CredentialUse[]
  }
  'egress.denied': EgressFacts & { reason: string }
  'source.discovered': {
    sourceId: string
    tools: number
    added: string[]
    changed: string[]
    missing: string[]
  }
  'source.discovery_failed': { sourceId: string; code: string; message: string }
  'tool.reviewed': { alias: string; definitionDigest: string; by: string }
  'credential.set': { credential: string; scope: string; keyId: string; by: string }
  'credential.removed': { credential: string; scope: string; by: string }
  'admin_key.created': { adminKeyId: string; name: string; by: string }
  'admin_key.revoked': { adminKeyId: string; by: string }
  'admin.refused': { address: string; code: string }
  'config.applied': { digest: string; by: string }
  'slack.refused': { reason: string; slackTeam: string; slackUser: string }
}

interface EgressFacts {
  sourceId: string
  runnerId: string
  generation: number
  scheme: string
  host: string
  port: number
  method: string
  path: string
  rule: string
  /** The calls that were in flight for this source when the request was made; one, unless calls overlap. */
  callIds: CallId[]
}

export type EventKind = keyof Kinds

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

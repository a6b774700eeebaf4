import { type AuditEvent, newId, type ReplicaId } from '../core/index.ts'
import type { Decision } from '../policy/index.ts'
import type { CallEnd, NewCall } from '../store/index.ts'
import type { Ending } from './ending.ts'
import type { RowState } from './recorder.ts'
import type { CallRequest } from './types.ts'

type Finished = Extract<AuditEvent, { kind: 'call.finished' }>['data']

/** What is known of one call so far; filled in on its way, written at its end whatever happened. */
export interface CallFacts {
  readonly call: NewCall
  readonly startedAt: number
  decision: Decision['effect']
  row: RowState
}

export function openFacts(request: CallRequest, replicaId: ReplicaId, now: number): CallFacts {
  const { caller } = request
  return {
    call: {
      id: newId('call'),
      principalId: caller.principalId,
      tokenId: caller.tokenId,
      toolkit: request.toolkit === null ? null : storable(request.toolkit),
      alias: storable(request.alias),
      sourceId: null,
      tool: null,
      definitionDigest: null,
      argumentsDigest: 'none',
      rule: 'none',
      client: request.client === null ? null : storable(request.client),
      replicaId,
      runnerId: null,
      generation: null,
    },
    startedAt: now,
    decision: 'block',
    row: 'none',
  }
}

/** The call's end with its audit event. */
export function endOf(facts: CallFacts, { outcome, code }: Ending, now: number): CallEnd {
  const { call } = facts
  const event: Finished = {
    alias: call.alias,
    sourceId: call.sourceId,
    tool: call.tool,
    toolkit: call.toolkit,
    argumentsDigest: call.argumentsDigest,
    decision: facts.decision,
    rule: call.rule,
    outcome,
    code,
    runnerId: call.runnerId,
    generation: call.generation,
    client: call.client,
    durationMs: Math.max(0, Math.round(now - facts.startedAt)),
  }
  return { outcome, code, event }
}

/** Text from a client as PostgreSQL can hold it: whole characters, no NUL, at most 128 of them. */
function storable(text: string): string {
  return text
    .slice(0, 128)
    .toWellFormed()
    .replace(/\p{Cc}/gu, '?')
}

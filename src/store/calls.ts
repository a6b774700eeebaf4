import { sql } from 'kysely'
import type { CallId, Outcome, PrincipalId, ReplicaId, RunnerId, TokenId } from '../core/index.ts'
import type { Executor, Store } from './database.ts'
import { gather } from './gather.ts'

type Pool = Store['pool']

export interface NewCall {
  id: CallId
  principalId: PrincipalId
  tokenId: TokenId
  toolkit: string | null
  alias: string
  sourceId: string | null
  tool: string | null
  definitionDigest: string | null
  argumentsDigest: string
  rule: string
  client: string | null
  replicaId: ReplicaId
  runnerId: RunnerId | null
  generation: number | null
}

export interface CallEnd {
  outcome: Outcome
  code: string | null
  /** `data` of the `call.finished` event. */
  event: object
}

const callColumns = `id, principal_id, token_id, toolkit, alias, source_id, tool, definition_digest,
  arguments_digest, rule, client, replica_id, runner_id, generation`
const callValues = `$1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text,
  $10::text, $11::text, $12::text, $13::text, $14::bigint`

function parameters(call: NewCall): unknown[] {
  return [
    call.id,
    call.principalId,
    call.tokenId,
    call.toolkit,
    call.alias,
    call.sourceId,
    call.tool,
    call.definitionDigest,
    call.argumentsDigest,
    call.rule,
    call.client,
    call.replicaId,
    call.runnerId,
    call.generation,
  ]
}

/** What must still be so, at the moment that the row is written. */
export interface CallProof {
  catalogVersion: number
  /** The hash that the caller's secret was proven against; null when it was proven on this very request. */
  secretHash: string | null
}

export interface CallRows {
  /**
   * Writes the row of a call that is about to be sent, if at this moment its token may be used, its secret is still
   * the one that was proven, and the catalog is the one it was decided by. Returns false, with nothing written, when
   * one of them is not so.
   */
  begin(call: NewCall, proof: CallProof): Promise<boolean>
  /** Ends a running call and records it, both or neither. A call that has ended already is left as it is. */
  finish(id: CallId, end: CallEnd): Promise<boolean>
}

type Step = { call: NewCall; proof: CallProof } | { id: CallId; end: CallEnd }

/** An outcome waits this long for the beginning of another call, whose commit it then shares. */
const outcomePatienceMs = 5

/** The one statement on the way of every call; calls that come together share it, and its commit. */
export function createCallRows(pool: Pool): CallRows {
  const write = gather<Step, boolean>({
    atOnce: 2,
    most: 64,
    async run(steps) {
      const [begun, ended]: [object[], object[]] = [[], []]
      for (const step of steps) {
        if ('call' in step) begun.push(toBegin(step.call, step.proof))
        else ended.push({ id: step.id, ...step.end })
      }
      const { rows } = await pool.query<{ id: CallId }>({
        name: 'write-calls',
        text: writeText,
        values: [JSON.stringify(begun), JSON.stringify(ended)],
      })
      const written = new Set(rows.map(({ id }) => id))
      return steps.map((step) => written.has('call' in step ? step.call.id : step.id))
    },
  })
  return {
    begin: async (call, proof) => await write({ call, proof }),
    finish: async (id, end) => await write({ id, end }, outcomePatienceMs),
  }
}

const writeText = `WITH begun AS (
    INSERT INTO calls (${callColumns}, state)
    SELECT a.id, a.principal_id, a.token_id, a.toolkit, a.alias, a.source_id, a.tool, a.definition_digest,
      a.arguments_digest, a.rule, a.client, a.replica_id, a.runner_id, a.generation, 'running'
    FROM json_to_recordset($1) AS a (id text, principal_id text, token_id text, toolkit text, alias text,
        source_id text, tool text, definition_digest text, arguments_digest text, rule text, client text,
        replica_id text, runner_id text, generation bigint, catalog_version bigint, secret_hash text)
      JOIN tokens t ON t.id = a.token_id
      JOIN principals p ON p.id = t.principal_id AND p.id = a.principal_id
      JOIN catalog_state c ON c.version = a.catalog_version
    WHERE t.revoked_at IS NULL AND t.expires_at > now() AND p.state = 'active'
      AND (a.secret_hash IS NULL OR a.secret_hash = t.secret_hash)
    RETURNING id),
  ended AS (
    UPDATE calls c SET state = 'finished', outcome = e.outcome, code = e.code, finished_at = now()
    FROM json_to_recordset($2) AS e (id text, outcome text, code text, event jsonb)
    WHERE c.id = e.id AND c.state = 'running'
    RETURNING c.id, c.principal_id, c.token_id, e.event),
  recorded AS (
    INSERT INTO events (kind, principal_id, token_id, call_id, data)
    SELECT 'call.finished', principal_id, token_id, id, event FROM ended RETURNING call_id)
  SELECT id FROM begun UNION ALL SELECT call_id FROM recorded`

function toBegin(call: NewCall, proof: CallProof): object {
  return {
    id: call.id,
    principal_id: call.principalId,
    token_id: call.tokenId,
    toolkit: call.toolkit,
    alias: call.alias,
    source_id: call.sourceId,
    tool: call.tool,
    definition_digest: call.definitionDigest,
    arguments_digest: call.argumentsDigest,
    rule: call.rule,
    client: call.client,
    replica_id: call.replicaId,
    runner_id: call.runnerId,
    generation: call.generation,
    catalog_version: proof.catalogVersion,
    secret_hash: proof.secretHash,
  }
}

/** Records a call whose row is not there, or perhaps not there: refused, or its beginning got no answer. */
export async function recordCall(pool: Pool, call: NewCall, end: CallEnd): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'record-call',
    text: `WITH done AS (
        INSERT INTO calls (${callColumns}, state, outcome, code, finished_at)
        VALUES (${callValues}, 'finished', $15::text, $16::text, now())
        ON CONFLICT (id) DO UPDATE SET state = 'finished', outcome = $15, code = $16, finished_at = now()
          WHERE calls.state = 'running'
        RETURNING id, principal_id, token_id)
      INSERT INTO events (kind, principal_id, token_id, call_id, data)
      SELECT 'call.finished', principal_id, token_id, id, $17::jsonb FROM done`,
    values: [...parameters(call), end.outcome, end.code, JSON.stringify(end.event)],
  })
  return rowCount === 1
}

/** The call that a person began last, whether it still runs or how it ended. */
export async function lastCall(
  db: Executor,
  principalId: PrincipalId,
): Promise<
  | {
      id: CallId
      alias: string
      outcome: Outcome | null
      code: string | null
      startedAt: Date
      finishedAt: Date | null
    }
  | undefined
> {
  return await db
    .selectFrom('calls')
    .select(['id', 'alias', 'outcome', 'code', 'started_at as startedAt', 'finished_at as finishedAt'])
    .where('principal_id', '=', principalId)
    .orderBy('started_at', 'desc')
    .limit(1)
    .executeTakeFirst()
}

export interface CallStanding {
  token: 'usable' | 'token_unknown' | 'token_revoked' | 'token_expired' | 'principal_deactivated'
  catalogVersion: number
}

/** Why `CallRows.begin` refused: the token's state and the catalog's version now. */
export async function callStanding(db: Executor, tokenId: TokenId): Promise<CallStanding> {
  const { rows } = await sql<CallStanding>`
    SELECT c.version AS "catalogVersion", CASE
        WHEN t.id IS NULL THEN 'token_unknown'
        WHEN p.state <> 'active' THEN 'principal_deactivated'
        WHEN t.revoked_at IS NOT NULL THEN 'token_revoked'
        WHEN t.expires_at <= now() THEN 'token_expired'
        ELSE 'usable' END AS token
    FROM catalog_state c
      LEFT JOIN tokens t ON t.id = ${tokenId}
      LEFT JOIN principals p ON p.id = t.principal_id`.execute(db)
  return rows[0] ?? { token: 'token_unknown', catalogVersion: 0 }
}

/**
 * Ends calls that a dead replica left running: outcome `unknown`, recorded. Dead: no heartbeat for `seconds`.
 * Any replica may do it, several at once; each call is ended once. Returns the calls it ended.
 */
export async function reapCalls(db: Executor, seconds: number): Promise<CallId[]> {
  const { rows } = await sql<{ id: CallId }>`
    WITH done AS (
      UPDATE calls SET state = 'finished', outcome = 'unknown', code = 'outcome_unknown', finished_at = now()
      WHERE state = 'running' AND started_at < now() - make_interval(secs => ${seconds})
        AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = calls.replica_id
          AND r.heartbeat_at > now() - make_interval(secs => ${seconds}))
      RETURNING *),
    recorded AS (
      INSERT INTO events (kind, principal_id, token_id, call_id, data)
      SELECT 'call.finished', principal_id, token_id, id, jsonb_build_object('alias', alias,
        'sourceId', source_id, 'tool', tool, 'toolkit', toolkit, 'argumentsDigest', arguments_digest,
        'decision', 'allow', 'rule', rule, 'outcome', outcome, 'code', code, 'runnerId', runner_id,
        'generation', generation, 'client', client,
        'durationMs', round(extract(epoch FROM now() - started_at) * 1000))
      FROM done)
    SELECT id FROM done`.execute(db)
  return rows.map((row) => row.id)
}

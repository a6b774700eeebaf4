import { sql } from 'kysely'
import type { CallId, Outcome, PrincipalId, ReplicaId, RunnerId, TokenId } from '../core/index.ts'
import type { Executor, Store } from './database.ts'

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

/**
 * Writes the row of a call that is about to be sent, if at this moment its token may be used and the catalog is
 * still the one it was decided by. Returns false, with nothing written, when one of them is not so.
 */
export async function beginCall(pool: Pool, call: NewCall, catalogVersion: number): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'begin-call',
    text: `INSERT INTO calls (${callColumns}, state)
      SELECT ${callValues}, 'running'
      FROM tokens t JOIN principals p ON p.id = t.principal_id CROSS JOIN catalog_state c
      WHERE t.id = $3 AND p.id = $2 AND t.revoked_at IS NULL AND t.expires_at > now() AND p.state = 'active'
        AND c.version = $15::bigint`,
    values: [...parameters(call), catalogVersion],
  })
  return rowCount === 1
}

const insertEvent = `INSERT INTO events (kind, principal_id, token_id, call_id, data)
  SELECT 'call.finished', principal_id, token_id, id,`

/** Ends a running call and records it, both or neither. A call that has ended already is left as it is. */
export async function finishCall(pool: Pool, id: CallId, end: CallEnd): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'finish-call',
    text: `WITH done AS (
        UPDATE calls SET state = 'finished', outcome = $2, code = $3, finished_at = now()
        WHERE id = $1 AND state = 'running' RETURNING id, principal_id, token_id)
      ${insertEvent} $4::jsonb FROM done`,
    values: [id, end.outcome, end.code, JSON.stringify(end.event)],
  })
  return rowCount === 1
}

/** The same for a call whose row is not there, or perhaps not there: refused, or its beginning got no answer. */
export async function recordCall(pool: Pool, call: NewCall, end: CallEnd): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'record-call',
    text: `WITH done AS (
        INSERT INTO calls (${callColumns}, state, outcome, code, finished_at)
        VALUES (${callValues}, 'finished', $15::text, $16::text, now())
        ON CONFLICT (id) DO UPDATE SET state = 'finished', outcome = $15, code = $16, finished_at = now()
          WHERE calls.state = 'running'
        RETURNING id, principal_id, token_id)
      ${insertEvent} $17::jsonb FROM done`,
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

/** Why `beginCall` refused: the token's state and the catalog's version now. */
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

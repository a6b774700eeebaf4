import { pipeline } from 'node:stream/promises'
import { CompiledQuery, sql } from 'kysely'
import { from as copyFrom } from 'pg-copy-streams'
import type { AuditEvent, CallId, PrincipalId } from '../core/index.ts'
import type { Connection, Executor } from './database.ts'

// One text and one parameter however many there are: of a thousand parameters the planning is most of the work.
const appendText = `
  INSERT INTO events (kind, principal_id, token_id, call_id, data)
  SELECT kind, principal_id, token_id, call_id, data FROM json_to_recordset($1::json)
    AS rows (kind text, principal_id text, token_id text, call_id text, data jsonb)`

/** Appends audit events in the caller's transaction, so that a fact and its record stand or fall together. */
export async function appendEvents(db: Executor, events: readonly AuditEvent[]): Promise<void> {
  if (events.length === 0) return
  const rows = events.map(({ kind, principalId, tokenId, callId, data }) => ({
    kind,
    principal_id: principalId,
    token_id: tokenId,
    call_id: callId,
    data,
  }))
  await db.executeQuery(CompiledQuery.raw(appendText, [JSON.stringify(rows)]))
}

/** An event whose data is JSON text already. */
export type WrittenEvent = Omit<AuditEvent, 'data'> & { data: string }

/**
 * The same for facts that stand already: all of `parts` in one transaction, each sent as it comes. A row takes the
 * server two thirds of the time that an insert does. When it rejects nothing is written, or, if the connection broke at
 * the very end, everything may be; the connection is of no further use.
 */
export async function copyEvents(
  connection: Connection,
  parts: AsyncIterable<readonly WrittenEvent[]>,
): Promise<void> {
  await pipeline(linesOf(parts), connection.query(copyFrom(copyText)))
}

const copyText = 'COPY events (kind, principal_id, token_id, call_id, data) FROM STDIN'

async function* linesOf(parts: AsyncIterable<readonly WrittenEvent[]>): AsyncGenerator<Buffer> {
  for await (const part of parts) {
    let lines = ''
    for (const { kind, principalId, tokenId, callId, data } of part)
      lines += `${kind}\t${fieldOf(principalId)}\t${fieldOf(tokenId)}\t${fieldOf(callId)}\t${fieldOf(data)}\n`
    yield Buffer.from(lines)
  }
}

/** As https://www.postgresql.org/docs/current/sql-copy.html has it under "Text Format". */
function fieldOf(value: string | undefined): string {
  return value === undefined ? '\\N' : value.replace(/[\\\n\r\t]/g, (char) => escaped[char] ?? char)
}

const escaped: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

export interface EventFilter {
  principalId?: PrincipalId | undefined
  callId?: CallId | undefined
  kind?: string | undefined
  /** Only events with an id below this one: the cursor of the next page. */
  before?: number | undefined
  limit: number
}

export interface StoredEvent {
  id: number
  at: Date
  kind: string
  principalId: string | null
  tokenId: string | null
  callId: string | null
  data: Record<string, unknown>
}

/** Events, newest first, at most `limit`. A call's events include the egress requests made while it was in flight. */
export async function listEvents(db: Executor, filter: EventFilter): Promise<StoredEvent[]> {
  let query = db
    .selectFrom('events')
    .select([
      'id',
      'at',
      'kind',
      'principal_id as principalId',
      'token_id as tokenId',
      'call_id as callId',
      'data',
    ])
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (filter.principalId !== undefined) query = query.where('principal_id', '=', filter.principalId)
  if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind)
  if (filter.before !== undefined) query = query.where('id', '<', filter.before)
  if (filter.callId !== undefined) {
    // Requests made while several calls were in flight name them all, but only one fits the column.
    const { callId } = filter
    const named = JSON.stringify({ callIds: [callId] })
    query = query.where((eb) =>
      eb.or([
        eb('call_id', '=', callId),
        eb.and([
          eb(
            'principal_id',
            '=',
            eb.selectFrom('calls').select('calls.principal_id').where('calls.id', '=', callId),
          ),
          eb('kind', 'in', ['egress.allowed', 'egress.would_deny', 'egress.denied']),
          sql<boolean>`data @> ${named}::jsonb`,
        ]),
      ]),
    )
  }
  return await query.execute()
}

/**
 * By how much the clock of the proxy that asked this host for a GitHub App's token last was ahead of the host's, in
 * seconds, negative where it was behind; undefined where it was right, or nobody has asked.
 */
export async function clockFoundOff(db: Executor, host: string): Promise<number | undefined> {
  const { rows } = await sql<{ off: number | null }>`
    SELECT (data->>'clockOffSeconds')::float8 AS off FROM events
    WHERE kind IN ('credential.minted', 'credential.mint_failed')
      AND data->>'kind' = 'github_app' AND data->>'host' = ${host}
    ORDER BY id DESC LIMIT 1`.execute(db)
  return rows[0]?.off ?? undefined
}

/** What a source asked for that no rule named, and how often. */
export interface UnnamedRequests {
  scheme: string
  host: string
  port: number
  method: string
  path: string
  times: number
  /** Why warn mode refused it all the same, such as `name_unresolved`; empty when only a rule was missing. */
  refused: string[]
}

/**
 * Requests of a source that no rule named in the last `days`: refused for want of one, let out by warn mode, or refused
 * there for something else; the most frequent first, at most 5,000 different ones.
 */
export async function unnamedRequests(
  db: Executor,
  sourceId: string,
  days: number,
): Promise<UnnamedRequests[]> {
  const { rows } = await sql<UnnamedRequests>`
    SELECT data->>'scheme' AS scheme, data->>'host' AS host, (data->>'port')::int AS port,
      data->>'method' AS method, data->>'path' AS path, count(*)::int AS times,
      coalesce(array_agg(DISTINCT data->>'reason')
        FILTER (WHERE data->>'reason' NOT LIKE '%\_not\_allowed'), '{}') AS refused
    FROM events
    WHERE kind IN ('egress.would_deny', 'egress.denied') AND data->>'sourceId' = ${sourceId}
      AND (data->>'reason' LIKE '%\_not\_allowed' OR data->>'rule' = 'warn') AND at > now() - make_interval(days => ${days})
    GROUP BY 1, 2, 3, 4, 5 ORDER BY times DESC, 1, 2, 3, 5, 4 LIMIT 5000`.execute(db)
  return rows
}

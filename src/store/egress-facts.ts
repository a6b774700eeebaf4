import type { CallId, LeaseId, PrincipalId, RunnerId } from '../core/index.ts'
import type { Connection, Store } from './database.ts'

/** A lease that is good right now, and what the proxy needs to decide and record with it. */
export interface LeaseFacts {
  secretSha256: string
  leaseId: LeaseId
  principalId: PrincipalId
  runnerId: RunnerId
  generation: number
  sourceId: string
  catalogVersion: number
  /** The address that its sandbox's requests come from; null: they come through a socket of the proxy's machine. */
  sourceAddress: string | null
  /** The calls running for this principal and source at this moment. */
  callIds: CallId[]
}

// One statement for any number of requests, so that the proxy can ask once per turn of its event loop. A lease is
// good only while everything that it stands on is: not ended, its runner alive in the same generation, its
// principal active, its source enabled.
const liveLeasesText = `
  SELECT l.secret_sha256 AS "secretSha256", l.id AS "leaseId", l.principal_id AS "principalId",
         l.runner_id AS "runnerId", l.generation, l.source_id AS "sourceId", c.version AS "catalogVersion",
         r.source_address AS "sourceAddress",
         COALESCE((SELECT json_agg(k.id ORDER BY k.started_at) FROM calls k
                   WHERE k.state = 'running' AND k.principal_id = l.principal_id AND k.source_id = l.source_id),
                  '[]'::json) AS "callIds"
  FROM leases l
  JOIN runners r ON r.id = l.runner_id AND r.principal_id = l.principal_id
    AND r.generation = l.generation AND r.state IN ('starting', 'ready')
  JOIN principals p ON p.id = l.principal_id AND p.state = 'active'
  JOIN sources s ON s.id = l.source_id AND s.enabled
  CROSS JOIN catalog_state c
  WHERE l.secret_sha256 = ANY($1::text[]) AND l.ended_at IS NULL`

/** Those of the leases, given by the SHA-256 of their secrets in hex, that are good now; the others are left out. */
export async function liveLeases(pool: Store['pool'], secretSha256s: string[]): Promise<LeaseFacts[]> {
  const result = await pool.query<LeaseFacts>({
    name: 'egress_live_leases',
    text: liveLeasesText,
    values: [secretSha256s],
  })
  return result.rows
}

/** One person's use of one source, and the calls of it that were seen running a moment ago. */
export interface CallScope {
  principalId: PrincipalId
  sourceId: string
  seen: CallId[]
}

export interface RecentCall {
  id: CallId
  principalId: PrincipalId
  sourceId: string
  /** Milliseconds since 1970 by the database's clock. */
  startedAt: number
  finishedAt: number | null
}

// Calls that began before the window are among `seen`, so that only what began within it is looked for.
const recentCallsText = `
  WITH scope AS (SELECT * FROM json_to_recordset($1) AS s ("principalId" text, "sourceId" text)),
  recent AS (
    SELECT k.* FROM scope s JOIN calls k ON k.principal_id = s."principalId" AND k.source_id = s."sourceId"
    WHERE k.started_at > clock_timestamp() - make_interval(secs => $3)
    UNION SELECT k.* FROM calls k WHERE k.id = ANY($2::text[]))
  SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now,
    COALESCE((SELECT json_agg(json_build_object('id', id, 'principalId', principal_id, 'sourceId', source_id,
                'startedAt', extract(epoch FROM started_at) * 1000,
                'finishedAt', extract(epoch FROM finished_at) * 1000) ORDER BY started_at) FROM recent),
             '[]'::json) AS calls`

/**
 * The calls that began within the last `windowMs`, and those seen before as they are now, oldest first, with the
 * database's clock to hold their times against.
 */
export async function recentCalls(
  connection: Connection,
  scopes: CallScope[],
  windowMs: number,
): Promise<{ now: number; calls: RecentCall[] }> {
  const { rows } = await connection.query<{ now: number; calls: RecentCall[] }>({
    name: 'egress_recent_calls',
    text: recentCallsText,
    values: [JSON.stringify(scopes), scopes.flatMap(({ seen }) => seen), windowMs / 1_000],
  })
  const [row] = rows
  if (row === undefined) throw new Error('a statement without a table gave no row')
  return row
}

/** The enabled sources as configured, unparsed, at one version of the catalog. */
export interface ConfiguredSources {
  version: number
  sources: { id: string; spec: unknown }[]
}

/** Version and sources from one snapshot. */
export async function configuredSources(pool: Store['pool']): Promise<ConfiguredSources> {
  const result = await pool.query<{ version: number; id: string | null; spec: unknown }>({
    name: 'egress_sources',
    text: `SELECT c.version, s.id, s.spec FROM catalog_state c LEFT JOIN sources s ON s.enabled`,
  })
  const sources: ConfiguredSources['sources'] = []
  for (const row of result.rows) if (row.id !== null) sources.push({ id: row.id, spec: row.spec })
  return { version: result.rows[0]?.version ?? 0, sources }
}

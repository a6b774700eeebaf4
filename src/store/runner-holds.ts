import { sql } from 'kysely'
import type { ReplicaId, RunnerId } from '../core/index.ts'
import type { Executor } from './database.ts'
import { type RunnerRow, runnerColumns } from './runners.ts'

const uniqueViolation = '23505'

/**
 * Takes this replica's hold on a ready runner: the row, or `undefined` when the runner is not ready. The counter
 * and the hold are written by one statement, on the row that culling tests, so that a runner is either held or
 * culled, never both. Taking it again is harmless. The replica's heartbeat must be fresh.
 */
export async function takeHold(
  db: Executor,
  id: RunnerId,
  replicaId: ReplicaId,
): Promise<RunnerRow | undefined> {
  try {
    const result = await sql<RunnerRow>`
      WITH held AS (
        UPDATE runners SET holds = holds + 1, last_activity_at = now()
        WHERE id = ${id} AND state = 'ready' AND NOT draining RETURNING ${runnerColumns}),
      hold AS (
        INSERT INTO runner_holds (runner_id, replica_id, generation)
        SELECT id, ${replicaId}, generation FROM held)
      SELECT * FROM held`.execute(db)
    return result.rows[0]
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== uniqueViolation) throw error
  }
  // The hold exists: an answer was lost, or it was never given back. The end of a generation ends its holds.
  const result = await sql<RunnerRow>`
    UPDATE runners SET last_activity_at = now()
    WHERE id = ${id} AND state = 'ready' AND NOT draining AND holds > 0
      AND EXISTS (SELECT FROM runner_holds WHERE runner_id = ${id} AND replica_id = ${replicaId})
    RETURNING ${runnerColumns}`.execute(db)
  return result.rows[0]
}

/** Gives a hold back; again, or after the generation ended, it changes nothing. */
export async function releaseHold(
  db: Executor,
  id: RunnerId,
  replicaId: ReplicaId,
  generation: number,
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    // The runner's row first, as everywhere: two that lock in two orders would wait for each other for ever.
    await sql`SELECT FROM runners WHERE id = ${id} FOR UPDATE`.execute(trx)
    await sql`
      WITH gone AS (
        DELETE FROM runner_holds
        WHERE runner_id = ${id} AND replica_id = ${replicaId} AND generation = ${generation} RETURNING 1)
      UPDATE runners SET holds = holds - 1, last_activity_at = now()
      WHERE id = ${id} AND EXISTS (SELECT FROM gone)`.execute(trx)
  })
}

/** Ends the holds of replicas whose heartbeat is older than `seconds`; returns how many there were. */
export async function reapHolds(db: Executor, seconds: number): Promise<number> {
  const stale = sql`replicas.heartbeat_at < now() - make_interval(secs => ${seconds})`
  const found = await sql<{ id: RunnerId }>`
    SELECT DISTINCT runner_id AS id FROM runner_holds JOIN replicas ON replicas.id = replica_id
    WHERE ${stale} ORDER BY 1`.execute(db)
  let reaped = 0
  for (const { id } of found.rows) {
    reaped += await db.transaction().execute(async (trx) => {
      await sql`SELECT FROM runners WHERE id = ${id} FOR UPDATE`.execute(trx)
      const gone = await sql<{ count: number }>`
        WITH gone AS (
          DELETE FROM runner_holds USING replicas
          WHERE runner_id = ${id} AND replicas.id = replica_id AND ${stale} RETURNING 1),
        counted AS (UPDATE runners SET holds = holds - (SELECT count(*) FROM gone)::int WHERE id = ${id})
        SELECT count(*)::int AS count FROM gone`.execute(trx)
      return gone.rows[0]?.count ?? 0
    })
  }
  return reaped
}

/** The runners that this replica holds in the database, with the generation of the hold and whether that drains. */
export async function listHolds(
  db: Executor,
  replicaId: ReplicaId,
): Promise<{ runnerId: RunnerId; generation: number; draining: boolean }[]> {
  return await db
    .selectFrom('runner_holds')
    .innerJoin('runners', 'runners.id', 'runner_holds.runner_id')
    .select(['runner_id as runnerId', 'runner_holds.generation', 'draining'])
    .where('replica_id', '=', replicaId)
    .execute()
}

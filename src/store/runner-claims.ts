import { sql } from 'kysely'
import type { ReplicaId, RunnerId } from '../core/index.ts'
import type { Executor } from './database.ts'
import { notify } from './listen.ts'
import type { Fence } from './runner-moves.ts'
import { type RunnerRow, runnerColumns } from './runners.ts'

/**
 * Takes up to `limit` runners that need work, that are due, and that nobody else has, for `leaseSeconds`. The
 * row's new `leaseEpoch` fences every write that follows: a claimer that was paused past its lease changes nothing.
 */
export async function claimRunners(
  db: Executor,
  claim: { replicaId: ReplicaId; limit: number; leaseSeconds: number },
): Promise<RunnerRow[]> {
  const result = await sql<RunnerRow>`
    WITH due AS MATERIALIZED (
      SELECT id FROM runners
      WHERE (state IN ('starting', 'lost', 'stopping')
          OR (state = 'failed' AND (wanted OR sandbox_uid IS NOT NULL)))
        AND next_attempt_at <= now() AND (lease_until IS NULL OR lease_until < now())
      ORDER BY next_attempt_at LIMIT ${claim.limit} FOR UPDATE SKIP LOCKED)
    UPDATE runners SET lease_owner = ${claim.replicaId}, lease_epoch = lease_epoch + 1,
      lease_until = now() + make_interval(secs => ${claim.leaseSeconds})
    FROM due WHERE runners.id = due.id RETURNING ${runnerColumns}`.execute(db)
  return result.rows
}

/** Gives a claim back; the runner is due again in `againMs`. False when the claim was lost meanwhile. */
export async function releaseClaim(
  db: Executor,
  id: RunnerId,
  fence: Fence,
  againMs: number,
): Promise<boolean> {
  const result = await sql`
    UPDATE runners SET lease_owner = NULL, lease_until = NULL,
      next_attempt_at = now() + make_interval(secs => ${againMs / 1000})
    WHERE id = ${id} AND lease_owner = ${fence.owner} AND lease_epoch = ${fence.epoch}`.execute(db)
  return (result.numAffectedRows ?? 0n) > 0n
}

/** Says what a claimed runner is doing, for whoever waits for it. False when the claim was lost meanwhile. */
export async function noteRunner(
  db: Executor,
  id: RunnerId,
  fence: Fence,
  note: { phase?: string; message?: string | null; sandboxUid?: string | null },
): Promise<boolean> {
  const changes = [sql`lease_owner = lease_owner`]
  if (note.phase !== undefined) changes.push(sql`phase = ${note.phase}`)
  if (note.message !== undefined) changes.push(sql`message = ${note.message}`)
  if (note.sandboxUid !== undefined) changes.push(sql`sandbox_uid = ${note.sandboxUid}`)
  const result = await sql`
    UPDATE runners SET ${sql.join(changes)}
    WHERE id = ${id} AND lease_owner = ${fence.owner} AND lease_epoch = ${fence.epoch}`.execute(db)
  if ((result.numAffectedRows ?? 0n) === 0n) return false
  await notify(db, { kind: 'runner', id })
  return true
}

/** Asks that a runner that is ending, or drains, be started again once it has ended. */
export async function wantRunner(db: Executor, id: RunnerId): Promise<void> {
  await sql`UPDATE runners SET wanted = true
    WHERE id = ${id} AND NOT wanted
      AND (state IN ('starting', 'lost', 'stopping') OR state = 'ready' AND draining)`.execute(db)
}

/** After a restored backup: the next generation must be above any that the sandboxes already know. */
export async function raiseGeneration(
  db: Executor,
  id: RunnerId,
  fence: Fence,
  next: { generation: number; sandboxUid: string },
): Promise<boolean> {
  const result = await sql`
    UPDATE runners SET generation = ${next.generation}, sandbox_uid = ${next.sandboxUid}
    WHERE id = ${id} AND state = 'starting' AND generation < ${next.generation}
      AND lease_owner = ${fence.owner} AND lease_epoch = ${fence.epoch}`.execute(db)
  return (result.numAffectedRows ?? 0n) > 0n
}

/** A failed runner's sandbox is certainly gone; nothing changes when the row moved on meanwhile. */
export async function clearFailedSandbox(db: Executor, id: RunnerId, sandboxUid: string): Promise<void> {
  await sql`UPDATE runners SET sandbox_uid = NULL
    WHERE id = ${id} AND state = 'failed' AND sandbox_uid = ${sandboxUid}`.execute(db)
}

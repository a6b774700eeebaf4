import { sql } from 'kysely'
import type { ReplicaId, RunnerId } from '../core/index.ts'
import type { Executor } from './database.ts'
import { appendEvents } from './events.ts'
import { endLeases } from './leases.ts'
import { notify } from './listen.ts'
import { type RunnerRow, runnerColumns } from './runners.ts'
import type { RunnerState } from './schema.ts'

/** Proof that the writer still has the claim that it was given (`claimRunners`). */
export interface Fence {
  owner: ReplicaId
  epoch: number
}

export interface RunnerMove {
  id: RunnerId
  from: RunnerState
  to: RunnerState
  /** The row must still be in this generation. */
  generation: number
  /** The row must still name this sandbox. */
  sandboxUid?: string
  fence?: Fence
  /** Only a runner that nobody holds, idle at least this long. */
  idleMs?: number
  /** Only a runner that nobody holds, ready at least this long. */
  readyMs?: number
  replicaId: ReplicaId
  /** A short code; `message` says it to people. */
  cause: string
  message: string | null
  set?: {
    nextGeneration?: true
    sandboxUid?: string | null
    address?: string
    sourceAddress?: string | null
    isolation?: string
    wanted?: boolean
    failures?: number
    nextAttemptMs?: number
  }
  detail?: Record<string, unknown>
}

/**
 * One transition, as a compare-and-set: the row after it, or `undefined` when the row was no longer as the mover
 * believed, and then nothing was written. It ends any claim on the row, and, when it ends a generation that was
 * ready, that generation's holds and leases. Its event, its audit record and its notice come with it or not at all.
 */
export async function moveRunner(db: Executor, move: RunnerMove): Promise<RunnerRow | undefined> {
  if (!db.isTransaction) return await db.transaction().execute((trx) => moveRunner(trx, move))
  const set = move.set ?? {}
  const changes = [
    sql`state = ${move.to}, state_since = now(), phase = NULL, reason = ${move.cause}, message = ${move.message}`,
    sql`lease_owner = NULL, lease_until = NULL, lease_epoch = lease_epoch + 1`,
    sql`next_attempt_at = now() + make_interval(secs => ${(set.nextAttemptMs ?? 0) / 1000})`,
  ]
  if (move.from === 'ready') changes.push(sql`holds = 0, draining = false`)
  if (move.to === 'ready') changes.push(sql`ready_at = now(), last_activity_at = now()`)
  if (set.nextGeneration === true) {
    changes.push(
      sql`generation = generation + 1, started_at = now(), last_activity_at = now(), address = NULL, source_address = NULL,
        ready_at = NULL`,
    )
  }
  if (set.sandboxUid !== undefined) changes.push(sql`sandbox_uid = ${set.sandboxUid}`)
  if (set.address !== undefined) changes.push(sql`address = ${set.address}`)
  if (set.sourceAddress !== undefined) changes.push(sql`source_address = ${set.sourceAddress}`)
  if (set.isolation !== undefined) changes.push(sql`isolation = ${set.isolation}`)
  if (set.wanted !== undefined) changes.push(sql`wanted = ${set.wanted}`)
  if (set.failures !== undefined) changes.push(sql`failures = ${set.failures}`)

  const conditions = [sql`id = ${move.id} AND state = ${move.from} AND generation = ${move.generation}`]
  if (move.sandboxUid !== undefined) conditions.push(sql`sandbox_uid = ${move.sandboxUid}`)
  if (move.fence !== undefined) {
    conditions.push(sql`lease_owner = ${move.fence.owner} AND lease_epoch = ${move.fence.epoch}`)
  }
  // Every predicate of culling stands on the row that taking a hold writes: see docs/decisions/0003.
  if (move.idleMs !== undefined) {
    conditions.push(
      sql`holds = 0 AND last_activity_at <= now() - make_interval(secs => ${move.idleMs / 1000})`,
    )
  }
  if (move.readyMs !== undefined) {
    conditions.push(sql`holds = 0 AND ready_at <= now() - make_interval(secs => ${move.readyMs / 1000})`)
  }

  const result = await sql<RunnerRow>`
    UPDATE runners SET ${sql.join(changes)} WHERE ${sql.join(conditions, sql` AND `)} RETURNING ${runnerColumns}
  `.execute(db)
  const row = result.rows[0]
  if (row === undefined) return undefined
  if (move.from === 'ready') {
    await db.deleteFrom('runner_holds').where('runner_id', '=', row.id).execute()
    await endLeases(db, row.id)
  }
  await recordMove(db, move, row)
  return row
}

/**
 * Closes a ready runner to new holds; those that there are stay until they are given back. The row after it, or
 * `undefined` when it was no longer as believed, is younger than `readyMs`, or drains already.
 */
export async function drainRunner(
  db: Executor,
  drain: {
    id: RunnerId
    generation: number
    readyMs: number
    replicaId: ReplicaId
    cause: string
    message: string
  },
): Promise<RunnerRow | undefined> {
  return await db.transaction().execute(async (trx) => {
    const result = await sql<RunnerRow>`
      UPDATE runners SET draining = true, reason = ${drain.cause}, message = ${drain.message}
      WHERE id = ${drain.id} AND state = 'ready' AND generation = ${drain.generation} AND NOT draining
        AND ready_at <= now() - make_interval(secs => ${drain.readyMs / 1000})
      RETURNING ${runnerColumns}`.execute(trx)
    const row = result.rows[0]
    if (row !== undefined) await recordMove(trx, { ...drain, from: 'ready', to: 'ready' }, row)
    return row
  })
}

async function recordMove(db: Executor, move: RunnerMove, row: RunnerRow): Promise<void> {
  await db
    .insertInto('runner_events')
    .values({
      runner_id: row.id,
      generation: row.generation,
      from_state: move.from,
      to_state: move.to,
      cause: move.cause,
      replica_id: move.replicaId,
      detail: JSON.stringify({ message: move.message, ...move.detail }),
    })
    .execute()
  await appendEvents(db, [
    {
      kind: 'runner.changed',
      principalId: row.principalId,
      data: {
        runnerId: row.id,
        generation: row.generation,
        from: move.from,
        to: move.to,
        cause: move.cause,
      },
    },
  ])
  await notify(db, { kind: 'runner', id: row.id })
}

/**
 * Begins a new generation unless `cap` runners are starting already (`full`), counted under a lock so that the
 * cap holds for all replicas together. `undefined`: the row was no longer as believed.
 */
export async function startRunner(
  db: Executor,
  start: {
    id: RunnerId
    from: 'stopped' | 'failed'
    generation: number
    sandboxUid: string
    cap: number
    replicaId: ReplicaId
    cause: string
    fence?: Fence
    failures?: number
  },
): Promise<RunnerRow | 'full' | undefined> {
  return await db.transaction().execute(async (trx) => {
    await sql`SELECT pg_advisory_xact_lock(hashtext('toolcrib starting'))`.execute(trx)
    const starting = await sql<{
      count: number
    }>`SELECT count(*)::int AS count FROM runners WHERE state = 'starting'`.execute(trx)
    if ((starting.rows[0]?.count ?? 0) >= start.cap) return 'full'
    return await moveRunner(trx, {
      id: start.id,
      from: start.from,
      to: 'starting',
      generation: start.generation,
      replicaId: start.replicaId,
      cause: start.cause,
      message: null,
      ...(start.fence === undefined ? {} : { fence: start.fence }),
      set: {
        nextGeneration: true,
        sandboxUid: start.sandboxUid,
        wanted: true,
        ...(start.failures === undefined ? {} : { failures: start.failures }),
      },
    })
  })
}

/** The last transitions of a runner, newest first. */
export async function listRunnerEvents(
  db: Executor,
  runnerId: RunnerId,
  limit: number,
): Promise<{ at: Date; generation: number; from: string; to: string; cause: string; detail: unknown }[]> {
  return await db
    .selectFrom('runner_events')
    .select(['at', 'generation', 'from_state as from', 'to_state as to', 'cause', 'detail'])
    .where('runner_id', '=', runnerId)
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}

/** Records that a sandbox which no row wanted was ended. */
export async function recordOrphan(
  db: Executor,
  orphan: { row: RunnerRow | undefined; name: string; generation: number; replicaId: ReplicaId },
): Promise<void> {
  await appendEvents(db, [
    {
      kind: 'runner.changed',
      ...(orphan.row === undefined ? {} : { principalId: orphan.row.principalId }),
      data: {
        runnerId: orphan.row?.id ?? orphan.name,
        generation: orphan.generation,
        from: 'orphaned',
        to: 'ended',
        cause: `orphan, found by ${orphan.replicaId}`,
      },
    },
  ])
}

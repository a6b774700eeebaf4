import { sql } from 'kysely'
import type { ReplicaId } from '../core/index.ts'
import type { Executor } from './database.ts'
import type { HeldKeys } from './schema.ts'

/**
 * Writes this process's row, or moves its heartbeat and says what keys it holds and by how much its clock is ahead;
 * `now()` of the database, so replicas' clocks do not matter. The database's time in milliseconds since 1970.
 */
export async function beat(
  db: Executor,
  replica: {
    id: ReplicaId
    kind: 'gateway' | 'egress'
    host: string
    held?: HeldKeys
    clockAheadMs?: number | undefined
  },
): Promise<number> {
  const { held, clockAheadMs, ...row } = replica
  const said = {
    ...(held === undefined ? {} : { egress_keys: JSON.stringify(held) }),
    ...(clockAheadMs === undefined ? {} : { clock_ahead_ms: clockAheadMs }),
  }
  const { now } = await db
    .insertInto('replicas')
    .values({ ...row, ...said })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ heartbeat_at: sql`now()`, ...said }))
    .returning(sql<number>`(extract(epoch FROM clock_timestamp()) * 1000)::float8`.as('now'))
    .executeTakeFirstOrThrow()
  return now
}

/** Live proxies whose clock is off by `ms` or more, and by how much it is ahead of the database's, in milliseconds. */
export async function clocksOff(db: Executor, ms: number): Promise<{ host: string; aheadMs: number }[]> {
  return await db
    .selectFrom('replicas')
    .select(['host', sql<number>`clock_ahead_ms`.as('aheadMs')])
    .where('kind', '=', 'egress')
    .where('heartbeat_at', '>', sql<Date>`now() - interval '30 seconds'`)
    .where(sql<number>`abs(clock_ahead_ms)`, '>=', ms)
    .orderBy('started_at')
    .execute()
}

/** A process that ends says so: nobody waits for it. */
export async function leaveReplicas(db: Executor, id: ReplicaId): Promise<void> {
  await db
    .updateTable('replicas')
    .set({ heartbeat_at: sql<Date>`now() - interval '1 day'` })
    .where('id', '=', id)
    .execute()
}

/** Replicas of `kind` whose heartbeat is younger than `seconds`. */
export async function liveReplicas(
  db: Executor,
  kind: 'gateway' | 'egress',
  seconds: number,
): Promise<ReplicaId[]> {
  const rows = await db
    .selectFrom('replicas')
    .select('id')
    .where('kind', '=', kind)
    .where('heartbeat_at', '>', sql<Date>`now() - make_interval(secs => ${seconds})`)
    .orderBy('started_at')
    .execute()
  return rows.map((row) => row.id)
}

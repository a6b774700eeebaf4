import { sql } from 'kysely'
import type { ReplicaId } from '../core/index.ts'
import type { Executor } from './database.ts'
import type { HeldKeys } from './schema.ts'

/** Writes this process's row, or moves its heartbeat and says what keys it holds; `now()` of the database, so replicas' clocks do not matter. */
export async function beat(
  db: Executor,
  replica: { id: ReplicaId; kind: 'gateway' | 'egress'; host: string; held?: HeldKeys },
): Promise<void> {
  const { held, ...row } = replica
  const keys = held === undefined ? {} : { egress_keys: JSON.stringify(held) }
  await db
    .insertInto('replicas')
    .values({ ...row, ...keys })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ heartbeat_at: sql`now()`, ...keys }))
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

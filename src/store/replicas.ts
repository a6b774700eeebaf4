import { sql } from 'kysely'
import type { ReplicaId } from '../core/index.ts'
import type { Executor } from './database.ts'

/** Writes this process's row, or moves its heartbeat; `now()` of the database, so replicas' clocks do not matter. */
export async function beat(
  db: Executor,
  replica: { id: ReplicaId; kind: 'gateway' | 'egress'; host: string },
): Promise<void> {
  await db
    .insertInto('replicas')
    .values(replica)
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ heartbeat_at: sql`now()` }))
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

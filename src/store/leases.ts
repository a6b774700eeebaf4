import { sql } from 'kysely'
import type { LeaseId, RunnerId } from '../core/index.ts'
import type { Executor } from './database.ts'

/**
 * Records the egress identity of one source in one generation; false when that generation is not ready any more.
 * The runner's row is share-locked, so that a lease is never added to a generation that has just ended.
 */
export async function insertLease(
  db: Executor,
  lease: {
    id: LeaseId
    secretSha256: string
    runnerId: RunnerId
    generation: number
    sourceId: string
    profile: string | null
  },
): Promise<boolean> {
  const result = await sql`
    INSERT INTO leases (id, secret_sha256, principal_id, runner_id, generation, source_id, profile)
    SELECT ${lease.id}, ${lease.secretSha256}, principal_id, id, generation, ${lease.sourceId}, ${lease.profile}
    FROM runners WHERE id = ${lease.runnerId} AND generation = ${lease.generation} AND state = 'ready'
    FOR SHARE`.execute(db)
  return (result.numAffectedRows ?? 0n) > 0n
}

/** Ends every lease of a runner; part of the transition that ends its generation. */
export async function endLeases(db: Executor, runnerId: RunnerId): Promise<void> {
  await sql`UPDATE leases SET ended_at = now() WHERE runner_id = ${runnerId} AND ended_at IS NULL`.execute(db)
}

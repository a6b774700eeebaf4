import { type Kysely, sql } from 'kysely'

/**
 * By how much the clock of a replica's machine is ahead of the database's, in milliseconds; null where it does not say,
 * as one of the version before.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE replicas ADD COLUMN clock_ahead_ms double precision`.execute(db)
}

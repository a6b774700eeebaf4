import { type Kysely, sql } from 'kysely'

/**
 * Every call wrote these indexes at its beginning and again at its end, and nothing read them: no key is given yet,
 * and the few calls that run are found by the index on principal and source as well.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE calls DROP CONSTRAINT calls_principal_id_idempotency_key_key`.execute(db)
  await sql`CREATE UNIQUE INDEX calls_by_idempotency_key ON calls (principal_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL`.execute(db)
  await sql`DROP INDEX calls_running`.execute(db)
}

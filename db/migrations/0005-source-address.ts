import { type Kysely, sql } from 'kysely'

/** Where the requests of a sandbox come from, so that its leases are good from nowhere else. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE runners ADD COLUMN source_address text`.execute(db)
}

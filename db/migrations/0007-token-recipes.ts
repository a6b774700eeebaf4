import { type Kysely, sql } from 'kysely'

/**
 * What a token is made from, whichever values that had: so that one made with a client secret that was replaced is
 * found again, and searched for. Null where a proxy of the version before has written the row.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE minted_tokens ADD COLUMN recipe text`.execute(db)
  await sql`ALTER TABLE former_tokens ADD COLUMN recipe text`.execute(db)
}

import { type Kysely, sql } from 'kysely'

/**
 * Tokens that another one took the place of and that are still good: answers are searched for them until they end. A
 * table of their own, so that a proxy of the version before goes on writing `minted_tokens` during an upgrade.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`CREATE TABLE former_tokens (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL,
    credential_id text NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    key_id text NOT NULL,
    sealed text NOT NULL,
    minted_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
  )`.execute(db)
  await sql`CREATE INDEX former_tokens_by_id ON former_tokens (id)`.execute(db)
  await sql`CREATE INDEX former_tokens_by_credential ON former_tokens (credential_id)`.execute(db)
}

import { type Kysely, sql } from 'kysely'

/**
 * A credential's version says which value an admin gave it; a refresh token that the proxy rotates keeps it. What is
 * minted from a credential, and a claim to mint it, end with the credential.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`ALTER TABLE credentials ADD COLUMN version integer NOT NULL DEFAULT 1`.execute(db)
  await sql`CREATE TABLE minted_tokens (
    id text PRIMARY KEY,
    credential_id text NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    key_id text NOT NULL,
    sealed text NOT NULL,
    minted_at timestamptz NOT NULL DEFAULT now(),
    renew_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
  )`.execute(db)
  await sql`CREATE INDEX minted_tokens_by_credential ON minted_tokens (credential_id)`.execute(db)
  await sql`CREATE TABLE mint_claims (
    id text PRIMARY KEY,
    credential_id text NOT NULL REFERENCES credentials (id) ON DELETE CASCADE,
    version integer NOT NULL,
    state text NOT NULL CHECK (state IN ('minting', 'uncertain', 'refused')),
    claim text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz NOT NULL
  )`.execute(db)
  await sql`CREATE INDEX mint_claims_by_credential ON mint_claims (credential_id)`.execute(db)
}

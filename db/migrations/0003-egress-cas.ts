import { type Kysely, sql } from 'kysely'

/**
 * Sealing keys and certificate authorities are changed apart from each other: a sandbox trusts every CA of this
 * table, a proxy signs with the newest that may sign. What a live proxy holds stands in its row, so that no key
 * comes into use before all of them have it.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    CREATE TABLE egress_cas (
      id text PRIMARY KEY,
      certificate text NOT NULL,
      trusted_since timestamptz NOT NULL DEFAULT now(),
      signs_since timestamptz
    )`.execute(db)
  await sql`
    INSERT INTO egress_cas (id, certificate, trusted_since, signs_since)
    SELECT 'ca_' || left(encode(sha256(convert_to(ca_certificate, 'UTF8')), 'hex'), 20), ca_certificate,
           min(created_at), min(created_at)
    FROM egress_keys GROUP BY ca_certificate`.execute(db)
  await sql`ALTER TABLE egress_keys DROP COLUMN ca_certificate`.execute(db)
  await sql`ALTER TABLE replicas ADD COLUMN egress_keys jsonb`.execute(db)
}

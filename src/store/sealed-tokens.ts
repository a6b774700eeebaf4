import { sql } from 'kysely'
import type { Executor } from './database.ts'

/** A token as it lies there, current or former; `sealed` names this very one. */
export interface SealedToken {
  id: string
  keyId: string
  sealed: string
}

const everyToken = sql<SealedToken>`(
  SELECT id, key_id AS "keyId", sealed FROM minted_tokens
  UNION ALL SELECT id, key_id, sealed FROM former_tokens
) AS every`

/** How many minted and former tokens are sealed to each key, also to one that is no longer published. */
export async function tokensByKey(db: Executor): Promise<Map<string, number>> {
  const { rows } = await sql<{ keyId: string; count: number }>`
    SELECT "keyId", count(*)::int AS count FROM ${everyToken} GROUP BY "keyId"`.execute(db)
  return new Map(rows.map(({ keyId, count }) => [keyId, count]))
}

/** At most `limit` tokens sealed to any of `keyIds`, in the order of `sealed`, those behind `after`. */
export async function tokensSealedTo(
  db: Executor,
  keyIds: readonly string[],
  { after, limit }: { after: string; limit: number },
): Promise<SealedToken[]> {
  const { rows } = await sql<SealedToken>`
    SELECT id, "keyId", sealed FROM ${everyToken}
    WHERE "keyId" = ANY(${keyIds}) AND sealed > ${after} ORDER BY sealed LIMIT ${limit}`.execute(db)
  return rows
}

/** Puts the same token under another key, wherever it lies by now; false when it is gone, and nothing is written. */
export async function resealToken(
  db: Executor,
  { id, sealed }: SealedToken,
  to: { keyId: string; sealed: string },
): Promise<boolean> {
  const facts = { key_id: to.keyId, sealed: to.sealed }
  // In this order: a renewal moves a token from the first to the second.
  for (const table of ['minted_tokens', 'former_tokens'] as const) {
    const updated = db.updateTable(table).set(facts).where('id', '=', id).where('sealed', '=', sealed)
    if ((await updated.returning('id').execute()).length > 0) return true
  }
  return false
}

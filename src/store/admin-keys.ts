import { sql } from 'kysely'
import type { AdminKeyId } from '../core/index.ts'
import type { Executor } from './database.ts'

/** Held by whoever makes or ends admin keys: two replicas cannot both make the first, or both end the last. */
export async function lockAdminKeys(trx: Executor): Promise<void> {
  await sql`LOCK TABLE admin_keys IN SHARE ROW EXCLUSIVE MODE`.execute(trx)
}

/** How many were ever made, and how many still open the door. */
export async function countAdminKeys(db: Executor): Promise<{ made: number; live: number }> {
  return await db
    .selectFrom('admin_keys')
    .select([
      sql<number>`count(*)`.as('made'),
      sql<number>`count(*) FILTER (WHERE revoked_at IS NULL)`.as('live'),
    ])
    .executeTakeFirstOrThrow()
}

export async function insertAdminKey(
  trx: Executor,
  key: { id: AdminKeyId; name: string; keySha256: string },
): Promise<void> {
  await trx
    .insertInto('admin_keys')
    .values({ id: key.id, name: key.name, key_sha256: key.keySha256 })
    .execute()
}

export async function findAdminKey(
  db: Executor,
  id: AdminKeyId,
): Promise<{ name: string; keySha256: string; revoked: boolean; useIsStale: boolean } | undefined> {
  return await db
    .selectFrom('admin_keys')
    .select(['name', 'key_sha256 as keySha256'])
    .select([
      sql<boolean>`revoked_at IS NOT NULL`.as('revoked'),
      sql<boolean>`last_used_at IS NULL OR last_used_at < now() - interval '1 minute'`.as('useIsStale'),
    ])
    .where('id', '=', id)
    .executeTakeFirst()
}

export async function touchAdminKey(db: Executor, id: AdminKeyId): Promise<void> {
  await db.updateTable('admin_keys').set({ last_used_at: sql`now()` }).where('id', '=', id).execute()
}

export interface ListedAdminKey {
  id: AdminKeyId
  name: string
  createdAt: Date
  revokedAt: Date | null
  lastUsedAt: Date | null
}

/** Oldest first, ended ones too. */
export async function listAdminKeys(db: Executor): Promise<ListedAdminKey[]> {
  const rows = await db
    .selectFrom('admin_keys')
    .select([
      'id',
      'name',
      'created_at as createdAt',
      'revoked_at as revokedAt',
      'last_used_at as lastUsedAt',
    ])
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  return rows.map((row) => ({ ...row, id: row.id as AdminKeyId }))
}

/** Returns whether it was live until now. */
export async function revokeAdminKey(trx: Executor, id: AdminKeyId): Promise<boolean> {
  const result = await trx
    .updateTable('admin_keys')
    .set({ revoked_at: sql`now()` })
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
}

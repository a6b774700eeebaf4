import { sql } from 'kysely'
import type { CredentialId, PrincipalId } from '../core/index.ts'
import type { Executor } from './database.ts'

export type CredentialScope = 'global' | 'profile' | 'principal'

/** A sealed credential; only the egress process can open `sealed`. */
export interface CredentialRow {
  id: CredentialId
  name: string
  scope: CredentialScope
  /** '' for a global one, else the principal's or profile's id. */
  scopeId: string
  keyId: string
  sealed: string
  /** Counts the values that an admin gave it; a refresh token that the proxy rotates keeps it. */
  version: number
}

const sealedRow = [
  'id',
  'name',
  'scope',
  'scope_id as scopeId',
  'key_id as keyId',
  'sealed',
  'version',
] as const

/** Writes a credential, or replaces the one of the same name, scope and scope id. */
export async function putCredential(
  db: Executor,
  row: Omit<CredentialRow, 'version'> & { by: string },
): Promise<void> {
  await db
    .insertInto('credentials')
    .values({
      id: row.id,
      name: row.name,
      scope: row.scope,
      scope_id: row.scopeId,
      key_id: row.keyId,
      sealed: row.sealed,
      updated_by: row.by,
    })
    .onConflict((conflict) =>
      conflict.columns(['name', 'scope', 'scope_id']).doUpdateSet({
        key_id: row.keyId,
        sealed: row.sealed,
        version: sql`credentials.version + 1`,
        updated_by: row.by,
        updated_at: sql`now()`,
      }),
    )
    .execute()
}

/** Every credential by name, without what is sealed. */
export async function listCredentialNames(
  db: Executor,
): Promise<(Omit<CredentialRow, 'sealed' | 'version'> & { updatedAt: Date; updatedBy: string })[]> {
  return await db
    .selectFrom('credentials')
    .select([
      'id',
      'name',
      'scope',
      'scope_id as scopeId',
      'key_id as keyId',
      'updated_at as updatedAt',
      'updated_by as updatedBy',
    ])
    .orderBy('name')
    .orderBy('scope')
    .orderBy('scope_id')
    .execute()
}

/** Every sealed credential: for changing the key, in the one process that can. */
export async function sealedCredentials(db: Executor): Promise<CredentialRow[]> {
  return await db.selectFrom('credentials').select(sealedRow).orderBy('id').execute()
}

/** Puts the same value under another key; false when the row is no longer `from`, and then nothing is written. */
export async function resealCredential(
  db: Executor,
  from: CredentialRow,
  to: { keyId: string; sealed: string },
): Promise<boolean> {
  const rows = await db
    .updateTable('credentials')
    .set({ key_id: to.keyId, sealed: to.sealed })
    .where('id', '=', from.id)
    .where('sealed', '=', from.sealed)
    .returning('id')
    .execute()
  return rows.length > 0
}

/** True when there was one. */
export async function deleteCredential(
  db: Executor,
  which: { name: string; scope: CredentialScope; scopeId: string },
): Promise<boolean> {
  const rows = await db
    .deleteFrom('credentials')
    .where('name', '=', which.name)
    .where('scope', '=', which.scope)
    .where('scope_id', '=', which.scopeId)
    .returning('id')
    .execute()
  return rows.length > 0
}

/** The rows of these names that could apply to the principal: their own and the global ones. */
export async function credentialsFor(
  db: Executor,
  { names, principalId }: { names: readonly string[]; principalId: PrincipalId },
): Promise<CredentialRow[]> {
  return await credentialsForAny(db, { names, principalIds: [principalId] })
}

/** The same for several principals at once: the global ones and each one's own. */
export async function credentialsForAny(
  db: Executor,
  { names, principalIds }: { names: readonly string[]; principalIds: readonly PrincipalId[] },
): Promise<CredentialRow[]> {
  if (names.length === 0 || principalIds.length === 0) return []
  return await db
    .selectFrom('credentials')
    .select(sealedRow)
    .where('name', 'in', names)
    .where((or) =>
      or.or([
        or('scope', '=', 'global'),
        or.and([or('scope', '=', 'principal'), or('scope_id', 'in', principalIds)]),
      ]),
    )
    .execute()
}

/** The row as it is now; a rotated refresh token may have come into it a moment ago. */
export async function credentialById(db: Executor, id: CredentialId): Promise<CredentialRow | undefined> {
  return await db.selectFrom('credentials').select(sealedRow).where('id', '=', id).executeTakeFirst()
}

/** Puts a rotated refresh token where the old one was; false when an admin has set another one meanwhile. */
export async function rotateCredential(
  db: Executor,
  row: Pick<CredentialRow, 'id' | 'version' | 'keyId' | 'sealed'>,
): Promise<boolean> {
  const rows = await db
    .updateTable('credentials')
    .set({ key_id: row.keyId, sealed: row.sealed })
    .where('id', '=', row.id)
    .where('version', '=', row.version)
    .returning('id')
    .execute()
  return rows.length > 0
}

/** Whether a principal of this id is known, so that a credential is not stored for nobody. */
export async function principalExists(db: Executor, id: string): Promise<boolean> {
  const row = await db
    .selectFrom('principals')
    .select('id')
    .where('id', '=', id as PrincipalId)
    .executeTakeFirst()
  return row !== undefined
}

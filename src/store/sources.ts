import { sql } from 'kysely'
import type { Executor } from './database.ts'

export interface StoredSource {
  id: string
  spec: Record<string, unknown>
  specDigest: string
  enabled: boolean
  /** The spec that the last successful discovery ran with; null before the first. */
  discoveredSpecDigest: string | null
  discoveredAt: Date | null
  /** What was wrong with the last discovery, as a sentence; null when nothing was. */
  discoveryError: string | null
}

const columns = [
  'id',
  'spec',
  'spec_digest as specDigest',
  'enabled',
  'discovered_spec_digest as discoveredSpecDigest',
  'discovered_at as discoveredAt',
  'discovery_error as discoveryError',
] as const

export async function listSources(db: Executor): Promise<StoredSource[]> {
  return await db.selectFrom('sources').select(columns).orderBy('id').execute()
}

export async function findSource(db: Executor, id: string): Promise<StoredSource | undefined> {
  return await db.selectFrom('sources').select(columns).where('id', '=', id).executeTakeFirst()
}

/** Writes a source of the configuration and enables it; what discovery found stays. */
export async function putSource(
  db: Executor,
  source: { id: string; spec: object; specDigest: string },
): Promise<void> {
  const values = { spec: JSON.stringify(source.spec), spec_digest: source.specDigest, enabled: true }
  await db
    .insertInto('sources')
    .values({ id: source.id, ...values })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(values))
    .execute()
}

/** Disables every source that is not among `ids`, and returns which; rows and tools stay. */
export async function disableOtherSources(db: Executor, ids: readonly string[]): Promise<string[]> {
  let query = db.updateTable('sources').set({ enabled: false }).where('enabled', '=', true)
  if (ids.length > 0) query = query.where('id', 'not in', ids)
  const disabled = await query.returning('id').execute()
  return disabled.map(({ id }) => id).toSorted()
}

/** Notes a discovery that was stored; `note` tells what was left out, null when nothing was. */
export async function recordDiscovery(
  db: Executor,
  discovery: { sourceId: string; specDigest: string; note: string | null },
): Promise<void> {
  await db
    .updateTable('sources')
    .set({
      discovered_spec_digest: discovery.specDigest,
      discovered_at: sql<Date>`now()`,
      discovery_error: discovery.note,
    })
    .where('id', '=', discovery.sourceId)
    .execute()
}

export async function recordDiscoveryError(db: Executor, sourceId: string, message: string): Promise<void> {
  await db.updateTable('sources').set({ discovery_error: message }).where('id', '=', sourceId).execute()
}

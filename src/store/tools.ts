import { sql } from 'kysely'
import type { Executor } from './database.ts'

export interface StoredTool {
  alias: string
  sourceId: string
  remoteName: string
  definition: Record<string, unknown>
  definitionDigest: string
  acceptedDefinition: Record<string, unknown> | null
  acceptedEgress: unknown[] | null
  acceptedDigest: string | null
  available: boolean
  enabled: boolean
  firstSeenAt: Date
  changedAt: Date
}

const columns = [
  'alias',
  'source_id as sourceId',
  'remote_name as remoteName',
  'definition',
  'definition_digest as definitionDigest',
  'accepted_definition as acceptedDefinition',
  'accepted_egress as acceptedEgress',
  'accepted_digest as acceptedDigest',
  'available',
  'enabled',
  'first_seen_at as firstSeenAt',
  'changed_at as changedAt',
] as const

/** Tools, of one source or of all, ordered by alias. */
export async function listTools(db: Executor, sourceId?: string): Promise<StoredTool[]> {
  const query = db.selectFrom('tools').select(columns).orderBy(sql`alias COLLATE "C"`)
  return await (sourceId === undefined ? query : query.where('source_id', '=', sourceId)).execute()
}

export async function findTool(db: Executor, alias: string): Promise<StoredTool | undefined> {
  return await db.selectFrom('tools').select(columns).where('alias', '=', alias).executeTakeFirst()
}

/** Every alias ever given; none is given twice. */
export async function takenAliases(db: Executor): Promise<string[]> {
  const rows = await db.selectFrom('tools').select('alias').execute()
  return rows.map((row) => row.alias)
}

export async function insertTool(
  db: Executor,
  tool: {
    alias: string
    sourceId: string
    remoteName: string
    definition: object
    definitionDigest: string
  },
): Promise<void> {
  await db
    .insertInto('tools')
    .values({
      alias: tool.alias,
      source_id: tool.sourceId,
      remote_name: tool.remoteName,
      definition: JSON.stringify(tool.definition),
      definition_digest: tool.definitionDigest,
    })
    .execute()
}

/** Replaces the facts of a tool; what was accepted stays as it was. */
export async function updateToolFacts(
  db: Executor,
  tool: { alias: string; definition: object; definitionDigest: string; available: boolean },
): Promise<void> {
  await db
    .updateTable('tools')
    .set({
      definition: JSON.stringify(tool.definition),
      definition_digest: tool.definitionDigest,
      available: tool.available,
      changed_at: sql<Date>`now()`,
    })
    .where('alias', '=', tool.alias)
    .execute()
}

/** Accepts the definition found, but only while it still is the one with this digest. Returns whether it was. */
export async function acceptFoundDefinition(
  db: Executor,
  tool: { alias: string; digest: string; egress: readonly unknown[] },
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('tools')
    .set({
      accepted_definition: sql<string>`definition`,
      accepted_digest: tool.digest,
      accepted_egress: JSON.stringify(tool.egress),
    })
    .where('alias', '=', tool.alias)
    .where('definition_digest', '=', tool.digest)
    .executeTakeFirstOrThrow()
  return numUpdatedRows === 1n
}

/** Returns whether this changed anything. */
export async function setToolEnabled(db: Executor, alias: string, enabled: boolean): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('tools')
    .set({ enabled })
    .where('alias', '=', alias)
    .where('enabled', '!=', enabled)
    .executeTakeFirstOrThrow()
  return numUpdatedRows === 1n
}

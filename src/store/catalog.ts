import { sql } from 'kysely'
import type { Executor } from './database.ts'
import { notify } from './listen.ts'

/** Everything at one version, as it was at one moment: a single statement sees a single snapshot. */
export interface CatalogRows {
  version: number
  sources: { id: string; spec: unknown; specDigest: string; enabled: boolean }[]
  tools: {
    alias: string
    sourceId: string
    remoteName: string
    definition: Record<string, unknown>
    definitionDigest: string
    acceptedDigest: string | null
    available: boolean
    enabled: boolean
  }[]
  toolkits: { slug: string; title: string; tools: string[] }[]
  rules: unknown[]
}

export async function loadCatalogRows(db: Executor): Promise<CatalogRows> {
  const { rows } = await sql<CatalogRows>`
    SELECT version,
      (SELECT coalesce(json_agg(json_build_object('id', id, 'spec', spec, 'specDigest', spec_digest,
          'enabled', enabled) ORDER BY id), '[]') FROM sources) AS sources,
      (SELECT coalesce(json_agg(json_build_object('alias', alias, 'sourceId', source_id, 'remoteName', remote_name,
          'definition', definition, 'definitionDigest', definition_digest, 'acceptedDigest', accepted_digest,
          'available', available, 'enabled', enabled) ORDER BY alias COLLATE "C"), '[]') FROM tools) AS tools,
      (SELECT coalesce(json_agg(json_build_object('slug', slug, 'title', title, 'tools', tools) ORDER BY slug),
          '[]') FROM toolkits) AS toolkits,
      (SELECT coalesce(json_agg(spec ORDER BY position), '[]') FROM policy_rules) AS rules
    FROM catalog_state`.execute(db)
  return onlyRow(rows)
}

export async function catalogVersion(db: Executor): Promise<number> {
  return onlyRow(await db.selectFrom('catalog_state').select('version').execute()).version
}

/** Makes the writers of the catalog take turns until the transaction ends; take it before any other lock. */
export async function lockCatalog(db: Executor): Promise<{ version: number; configDigest: string | null }> {
  const rows = await db
    .selectFrom('catalog_state')
    .select(['version', 'config_digest as configDigest'])
    .forUpdate()
    .execute()
  return onlyRow(rows)
}

/**
 * The next version, and every replica told with the commit. It is the time in milliseconds, so that a database that
 * lost its last versions, as one that was promoted may have, never gives one of theirs to something else: replicas keep
 * what they read of a version until there is a newer one (docs/decisions/0045).
 */
export async function bumpCatalog(db: Executor): Promise<void> {
  const version = sql<number>`greatest(version + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)`
  await db.updateTable('catalog_state').set({ version }).execute()
  await notify(db, { kind: 'catalog' })
}

/** Replaces what only the configuration file says: toolkits and rules. */
export async function replacePolicy(
  db: Executor,
  policy: {
    configDigest: string
    toolkits: { slug: string; title: string; tools: readonly string[] }[]
    rules: readonly object[]
  },
): Promise<void> {
  await db.updateTable('catalog_state').set({ config_digest: policy.configDigest }).execute()
  await db.deleteFrom('toolkits').execute()
  await db.deleteFrom('policy_rules').execute()
  for (const { slug, title, tools } of policy.toolkits)
    await db
      .insertInto('toolkits')
      .values({ slug, title, tools: JSON.stringify(tools) })
      .execute()
  for (const [position, rule] of policy.rules.entries())
    await db
      .insertInto('policy_rules')
      .values({ position, spec: JSON.stringify(rule) })
      .execute()
}

function onlyRow<Row>(rows: Row[]): Row {
  const [row] = rows
  // The migration wrote it and nothing deletes it.
  if (row === undefined) throw new Error('catalog_state is empty')
  return row
}

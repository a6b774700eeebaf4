import { AppError, toAppError } from '../core/index.ts'
import {
  acceptFoundDefinition,
  appendEvents,
  bumpCatalog,
  type Executor,
  findSource,
  insertTool,
  listTools,
  lockCatalog,
  recordDiscovery,
  recordDiscoveryError,
  type Store,
  type StoredSource,
  type StoredTool,
  takenAliases,
  updateToolFacts,
} from '../store/index.ts'
import type { ToolDefinition } from '../wire/index.ts'
import { aliasFor } from './alias.ts'
import { definitionDigest, type FoundDefinitions, readDefinitions } from './definition.ts'
import { type SourceSpec, sourceSpec } from './source-spec.ts'
import type { Source } from './types.ts'

export type ListTools = (source: Source) => Promise<ToolDefinition[]>

/** What a discovery changed; names are the source's own. */
export interface Discovery {
  sourceId: string
  tools: number
  added: string[]
  changed: string[]
  missing: string[]
  refused: FoundDefinitions['refused']
}

/** See `CatalogKeeper.discover`. */
export async function discoverSource(
  store: Pick<Store, 'db'>,
  sourceId: string,
  list: ListTools,
): Promise<Discovery> {
  const stored = await findSource(store.db, sourceId)
  if (stored?.enabled !== true)
    throw new AppError('not_found', `There is no source "${sourceId}" in the configuration.`)
  const spec = sourceSpec.parse(stored.spec)
  try {
    const read = readDefinitions(
      await list({ id: sourceId, spec, specDigest: stored.specDigest, enabled: true }),
    )
    return await store.db
      .transaction()
      .execute(async (db) => await storeDiscovery(db, { stored, spec }, read))
  } catch (error) {
    const known = toAppError(error)
    await recordFailure(store, sourceId, known)
    throw known
  }
}

async function storeDiscovery(
  db: Executor,
  { stored, spec }: { stored: StoredSource; spec: SourceSpec },
  { found, refused }: FoundDefinitions,
): Promise<Discovery> {
  const sourceId = stored.id
  await lockCatalog(db)
  const now = await findSource(db, sourceId)
  if (now?.enabled !== true || now.specDigest !== stored.specDigest)
    throw new AppError('conflict', `The source "${sourceId}" was reconfigured meanwhile; discover it again.`)
  const before = await listTools(db, sourceId)
  const offered = before.filter((tool) => tool.available)
  if (found.length === 0 && offered.length > 0)
    throw new AppError(
      'source_invalid_output',
      `The source "${sourceId}" offered no usable tool where it had ${offered.length}; nothing was changed. If that is right, take the source out of the configuration.`,
    )

  const facts = await storeFacts(db, sourceId, spec, found, before)
  if (now.discoveredAt === null && spec.review === 'on_first_sight')
    for (const { alias, digest } of facts.fresh)
      await acceptFoundDefinition(db, { alias, digest, egress: spec.egress })

  const { added, changed, missing } = facts
  const note = refused.map(({ name, reason }) => `${name}: ${reason}`)
  await recordDiscovery(db, {
    sourceId,
    specDigest: stored.specDigest,
    note: note.length === 0 ? null : `Left out: ${note.join('; ')}.`,
  })
  const data = { sourceId, tools: found.length, added, changed, missing }
  await appendEvents(db, [
    { kind: 'source.discovered', data: note.length === 0 ? data : { ...data, refused: note } },
  ])
  if (added.length + changed.length + missing.length > 0) await bumpCatalog(db)
  return { ...data, refused }
}

async function storeFacts(
  db: Executor,
  sourceId: string,
  spec: SourceSpec,
  found: readonly ToolDefinition[],
  before: readonly StoredTool[],
) {
  const facts = {
    added: [] as string[],
    changed: [] as string[],
    missing: [] as string[],
    fresh: [] as { alias: string; digest: string }[],
  }
  const known = new Map(before.map((tool) => [tool.remoteName, tool]))
  const taken = new Set(await takenAliases(db))
  for (const definition of found) {
    const digest = definitionDigest(definition, spec)
    const old = known.get(definition.name)
    if (old === undefined) {
      const alias = aliasFor(sourceId, definition.name, taken)
      taken.add(alias)
      await insertTool(db, {
        alias,
        sourceId,
        remoteName: definition.name,
        definition,
        definitionDigest: digest,
      })
      facts.added.push(definition.name)
      facts.fresh.push({ alias, digest })
    } else if (old.definitionDigest !== digest || !old.available) {
      await updateToolFacts(db, { alias: old.alias, definition, definitionDigest: digest, available: true })
      facts.changed.push(definition.name)
    }
  }
  const names = new Set(found.map((definition) => definition.name))
  for (const tool of before) {
    if (!tool.available || names.has(tool.remoteName)) continue
    await updateToolFacts(db, { ...tool, available: false })
    facts.missing.push(tool.remoteName)
  }
  return facts
}

/** The only two traces of a discovery that failed. */
async function recordFailure(store: Pick<Store, 'db'>, sourceId: string, error: AppError): Promise<void> {
  await store.db.transaction().execute(async (db) => {
    await recordDiscoveryError(db, sourceId, error.message)
    await appendEvents(db, [
      { kind: 'source.discovery_failed', data: { sourceId, code: error.code, message: error.message } },
    ])
  })
}

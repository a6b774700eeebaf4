import { digestJson } from '../core/index.ts'
import {
  acceptFoundDefinition,
  appendEvents,
  bumpCatalog,
  disableOtherSources,
  type Executor,
  listSources,
  listTools,
  lockCatalog,
  putSource,
  replacePolicy,
  type Store,
  updateToolFacts,
} from '../store/index.ts'
import { definitionDigest, destinationDigest, type Reach } from './definition.ts'
import type { SourceSpec } from './source-spec.ts'
import type { Catalog } from './types.ts'

/** The part of the configuration file that this room keeps, already parsed. */
export interface CatalogConfig {
  sources: Readonly<Record<string, SourceSpec>>
  toolkits: Readonly<Record<string, { title: string; tools: readonly string[] }>>
  rules: Catalog['rules']
}

export interface Applied {
  changed: boolean
  /** Sources that were enabled before and are not in it. */
  removed: string[]
}

/** See `CatalogKeeper.apply`. */
export async function applyConfig(
  store: Pick<Store, 'db'>,
  config: CatalogConfig,
  by: string,
): Promise<Applied> {
  const digest = digestJson(config)
  return await store.db.transaction().execute(async (db) => {
    const state = await lockCatalog(db)
    if (state.configDigest === digest) return { changed: false, removed: [] }
    const removed = await applySources(db, config)
    await replacePolicy(db, {
      configDigest: digest,
      toolkits: Object.entries(config.toolkits).map(([slug, toolkit]) => ({ slug, ...toolkit })),
      rules: config.rules,
    })
    await appendEvents(db, [{ kind: 'config.applied', data: { digest, by } }])
    await bumpCatalog(db)
    return { changed: true, removed }
  })
}

/** Returns the sources that it removed. */
async function applySources(db: Executor, config: CatalogConfig): Promise<string[]> {
  const before = new Map((await listSources(db)).map((source) => [source.id, source]))
  const removed = await disableOtherSources(db, Object.keys(config.sources))
  for (const [id, spec] of Object.entries(config.sources)) {
    await putSource(db, { id, spec, specDigest: digestJson(spec) })
    const old = before.get(id)
    if (old !== undefined && destinationDigest(old.spec) !== destinationDigest(spec))
      await moveDestination(db, id, old.spec, spec)
  }
  return removed
}

/** A tool that may now send data elsewhere is another tool: its digest changes, and somebody must accept it. */
async function moveDestination(db: Executor, sourceId: string, old: Reach, spec: SourceSpec): Promise<void> {
  // Whoever accepted warn mode accepted these rules with it, and the end of it takes something away only.
  const onlyEnds = destinationDigest({ egress: old.egress }) === destinationDigest(spec)
  for (const tool of await listTools(db, sourceId)) {
    const digest = definitionDigest(tool.definition, spec)
    await updateToolFacts(db, { ...tool, definitionDigest: digest })
    if (onlyEnds && tool.acceptedDigest === tool.definitionDigest)
      await acceptFoundDefinition(db, { alias: tool.alias, digest, egress: spec.egress })
  }
}

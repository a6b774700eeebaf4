import { AppError } from '../core/index.ts'
import {
  acceptFoundDefinition,
  appendEvents,
  bumpCatalog,
  findSource,
  findTool,
  listSources,
  listTools,
  lockCatalog,
  type Store,
  type StoredTool,
  setToolEnabled,
} from '../store/index.ts'
import { definitionDigest, isAnywhere, type Reach } from './definition.ts'
import { type Change, differences } from './diff.ts'
import { sourceSpec } from './source-spec.ts'

/** A tool as an admin judges it. */
export interface ToolReview {
  alias: string
  sourceId: string
  remoteName: string
  /** `new`: never accepted. `changed`: another definition than the one found was accepted. */
  review: 'accepted' | 'new' | 'changed'
  /** Whether its source is in the configuration. */
  configured: boolean
  available: boolean
  enabled: boolean
  definition: Record<string, unknown>
  /** Hand it back to accept exactly this definition. */
  definitionDigest: string
  acceptedDigest: string | null
  /** From the accepted to the found: `/definition/…` for the tool, `/destination/…` for where its source may send, `/anywhere` for warn mode. */
  changes: Change[]
  firstSeenAt: Date
  changedAt: Date
}

export async function reviewTools(store: Pick<Store, 'db'>): Promise<ToolReview[]> {
  // In this order: what is shown may be newer than its digest, which is then not accepted, and never older.
  const tools = await listTools(store.db)
  const sources = new Map((await listSources(store.db)).map((source) => [source.id, source]))
  return tools.map((tool) => toReview(tool, sources.get(tool.sourceId)))
}

function toReview(tool: StoredTool, source: { spec: Reach; enabled: boolean } | undefined): ToolReview {
  const spec = source?.spec ?? {}
  const { acceptedDefinition, acceptedEgress, ...shown } = tool
  const accepted = { egress: acceptedEgress ?? [], egress_warn_until: 'accepted' }
  const unchanged = tool.acceptedDigest === tool.definitionDigest
  return {
    ...shown,
    configured: source?.enabled === true,
    review: unchanged ? 'accepted' : tool.acceptedDigest === null ? 'new' : 'changed',
    changes: unchanged
      ? []
      : differences(
          {
            definition: acceptedDefinition ?? {},
            destination: accepted.egress,
            // Only the digest tells whether it was warn mode that was accepted.
            anywhere: tool.acceptedDigest === definitionDigest(acceptedDefinition ?? {}, accepted),
          },
          { definition: tool.definition, destination: spec.egress ?? [], anywhere: isAnywhere(spec) },
        ),
  }
}

/** See `CatalogKeeper.acceptTool`. */
export async function acceptTool(
  store: Pick<Store, 'db'>,
  { alias, digest, by }: { alias: string; digest: string; by: string },
): Promise<void> {
  await store.db.transaction().execute(async (db) => {
    await lockCatalog(db)
    const tool = await findTool(db, alias)
    if (tool === undefined) throw noSuchTool(alias)
    if (tool.definitionDigest !== digest)
      throw new AppError(
        'conflict',
        `The definition of "${alias}" is another one than you looked at; look again and accept what is there now.`,
        { details: { alias, definitionDigest: tool.definitionDigest } },
      )
    if (tool.acceptedDigest === digest) return
    const source = await findSource(db, tool.sourceId)
    const { egress } = sourceSpec.parse(source?.spec)
    await acceptFoundDefinition(db, { alias, digest, egress })
    await appendEvents(db, [{ kind: 'tool.reviewed', data: { alias, definitionDigest: digest, by } }])
    await bumpCatalog(db)
  })
}

/** See `CatalogKeeper.setToolEnabled`. */
export async function enableTool(
  store: Pick<Store, 'db'>,
  { alias, enabled, by }: { alias: string; enabled: boolean; by: string },
): Promise<void> {
  await store.db.transaction().execute(async (db) => {
    await lockCatalog(db)
    if ((await findTool(db, alias)) === undefined) throw noSuchTool(alias)
    if (!(await setToolEnabled(db, alias, enabled))) return
    await appendEvents(db, [{ kind: 'tool.enabled', data: { alias, enabled, by } }])
    await bumpCatalog(db)
  })
}

function noSuchTool(alias: string): AppError {
  return new AppError(
    'not_found',
    `There is no tool "${alias.slice(0, 64)}"; list the tools to see their aliases.`,
  )
}

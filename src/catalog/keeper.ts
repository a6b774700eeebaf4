import type { Log } from '../core/index.ts'
import { listSources, type Store, type StoredSource } from '../store/index.ts'
import { type Applied, applyConfig, type CatalogConfig } from './apply.ts'
import { type Discovery, discoverSource, type ListTools } from './discover.ts'
import { acceptTool, enableTool, reviewTools, type ToolReview } from './review.ts'
import { createSnapshots } from './snapshot.ts'
import type { Catalog } from './types.ts'

export interface CatalogKeeper {
  /**
   * Writes the configuration's sources, toolkits and rules, all or nothing. The same configuration again changes
   * nothing. A source that is gone is disabled and its tools are kept. Check the rules (`policy/`) before.
   */
  apply(config: CatalogConfig, by: string): Promise<Applied>
  /** The snapshot that a caller's token check saw, or a newer one. Costs nothing while the version stands. */
  current(wantedVersion: number): Promise<Catalog>
  /** The newest snapshot; asks the database for its version. */
  latest(): Promise<Catalog>
  /**
   * Stores what a source offers now. New and changed definitions wait for a person, unless this is the source's
   * very first discovery and its spec says `review: on_first_sight`. Vanished tools become unavailable and keep
   * what was decided about them. A discovery that fails changes nothing, is recorded, and throws.
   */
  discover(sourceId: string, listTools: ListTools): Promise<Discovery>
  /** Ids of the sources that were never discovered as they are configured now. */
  undiscovered(): Promise<string[]>
  listSources(): Promise<StoredSource[]>
  listTools(): Promise<ToolReview[]>
  /** Accepts the definition with this digest; `conflict` when another one was found meanwhile. Idempotent. */
  acceptTool(alias: string, digest: string, by: string): Promise<void>
  setToolEnabled(alias: string, enabled: boolean, by: string): Promise<void>
}

export function createCatalog(options: { store: Pick<Store, 'db'>; log: Log }): CatalogKeeper {
  const { store } = options
  const snapshots = createSnapshots(options)
  return {
    ...snapshots,
    apply: async (config, by) => await applyConfig(store, config, by),
    discover: async (sourceId, list) => await discoverSource(store, sourceId, list),
    async undiscovered() {
      const sources = await listSources(store.db)
      return sources
        .filter((source) => source.enabled && source.discoveredSpecDigest !== source.specDigest)
        .map((source) => source.id)
    },
    listSources: async () => await listSources(store.db),
    listTools: async () => await reviewTools(store),
    acceptTool: async (alias, digest, by) => await acceptTool(store, { alias, digest, by }),
    setToolEnabled: async (alias, enabled, by) => await enableTool(store, { alias, enabled, by }),
  }
}

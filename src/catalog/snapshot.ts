import type { Log } from '../core/index.ts'
import { type CatalogRows, catalogVersion, loadCatalogRows, type Store } from '../store/index.ts'
import { sourceSpec } from './source-spec.ts'
import type { Catalog, Source, Tool } from './types.ts'

/** Keeps one snapshot per process; `wanted` decides when it is no longer good enough. */
export interface Snapshots {
  current(wantedVersion: number): Promise<Catalog>
  latest(): Promise<Catalog>
}

export function createSnapshots({ store, log }: { store: Pick<Store, 'db'>; log: Log }): Snapshots {
  let cached: Catalog | undefined
  let loading: Promise<Catalog> | undefined

  const load = (): Promise<Catalog> => {
    loading ??= loadCatalogRows(store.db)
      .then((rows) => {
        cached = readCatalog(rows, log)
        return cached
      })
      .finally(() => {
        loading = undefined
      })
    return loading
  }

  const current = async (wanted: number): Promise<Catalog> => {
    if (cached?.version === wanted) return cached
    // A load that was under way may have begun before the wanted version was written.
    const shared = await load()
    return shared.version >= wanted ? shared : await load()
  }
  return { current, latest: async () => await current(await catalogVersion(store.db)) }
}

function readCatalog(rows: CatalogRows, log: Log): Catalog {
  const sources = new Map<string, Source>()
  for (const row of rows.sources) {
    const spec = sourceSpec.safeParse(row.spec)
    // Written by another version of Toolcrib: a source that cannot be understood is not offered.
    if (spec.success) sources.set(row.id, { ...row, spec: spec.data })
    else log.warn({ sourceId: row.id }, 'source has a form that this version does not know; left out')
  }
  return freezeDeep({
    version: rows.version,
    sources,
    tools: new Map(rows.tools.map((tool): [string, Tool] => [tool.alias, tool])),
    toolkits: new Map(rows.toolkits.map((toolkit) => [toolkit.slug, toolkit])),
    rules: rows.rules as Catalog['rules'],
  })
}

/** Snapshots are shared by every call of the process; a change through one of them would be everybody's. */
function freezeDeep<Value>(value: Value): Value {
  if (value === null || typeof value !== 'object') return value
  for (const member of value instanceof Map ? value.values() : Object.values(value)) freezeDeep(member)
  return Object.freeze(value)
}

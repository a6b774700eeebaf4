import type { Ground } from './app-ground.ts'
import { createCallReaper, sourceToRun, startDiscovery } from './calls/index.ts'
import type { CatalogKeeper } from './catalog/index.ts'
import type { Config } from './config.ts'
import type { Log, PrincipalId } from './core/index.ts'
import type { Runners } from './runners/index.ts'
import { ensureSystemPrincipal } from './store/index.ts'

/** What a gateway does without being asked. */
export interface Background {
  /** Settles when every source was looked at once since the start, whether it answered or not. */
  discovered(): Promise<void>
  /** Hides the start of the sandbox and its sources behind the time that a person needs to paste a line. */
  prewarm(principalId: PrincipalId): void
}

/** Ends what dead gateways left, and looks at the sources. */
export async function startBackground(
  open: AsyncDisposableStack,
  ground: Ground,
  rooms: { catalog: CatalogKeeper; runners: Runners; config: Config; log: Log },
): Promise<Background> {
  const { store, notices, replica } = ground
  const { catalog, runners, log } = rooms
  const deadAfterSeconds = rooms.config.file.replicas.dead_after_seconds
  open.use(createCallReaper({ store, log, replica, deadAfterSeconds }))
  const principalId = await ensureSystemPrincipal(store.db)
  const discovery = open.use(startDiscovery({ catalog, runners, notices, principalId, log }))
  return {
    discovered: async () => await discovery.run(),
    prewarm(person) {
      catalog.latest().then(
        ({ sources }) => {
          const enabled = [...sources.values()].filter((source) => source.enabled)
          runners.prewarm(person, enabled.map(sourceToRun))
        },
        (err: unknown) => log.warn({ err, principalId: person }, 'pre-warming failed'),
      )
    },
  }
}

import { hostname } from 'node:os'
import type { Config } from './config.ts'
import { type Log, newId } from './core/index.ts'
import {
  type Heartbeat,
  listen,
  migrate,
  type Notices,
  openStore,
  type Store,
  startHeartbeat,
} from './store/index.ts'

/** What every other part of a gateway stands on. */
export interface Ground {
  store: Store
  notices: Notices
  /** This gateway among its like. */
  replica: Heartbeat
}

/** Opens the database, brings it up to this version, listens, and makes this gateway known to the others. */
export async function openGround(
  open: AsyncDisposableStack,
  options: { config: Config; databaseUrl: string; log: Log },
): Promise<Ground> {
  const { log } = options
  const { database, replicas } = options.config.file
  const store = open.use(openStore({ url: options.databaseUrl, poolSize: database.pool_size, log }))
  const migrated = await migrate(store.db)
  if (migrated.length > 0) log.info({ migrations: migrated }, 'database migrated')
  const notices = open.use(listen(store, log))
  const deadAfterMs = replicas.dead_after_seconds * 1000
  const replica = open.use(
    startHeartbeat({
      store,
      log,
      replica: { id: newId('rep'), kind: 'gateway', host: hostname() },
      everyMs: (deadAfterMs * 2) / 9,
      freshMs: (deadAfterMs * 2) / 3,
    }),
  )
  return { store, notices, replica }
}

import { hostname, userInfo } from 'node:os'
import { createAdminKeys } from './access/index.ts'
import { applyConfig } from './app-apply.ts'
import { createCatalog } from './catalog/index.ts'
import type { Config } from './config.ts'
import { type AdminKeyId, AppError, type Log, type Secret } from './core/index.ts'
import { migrate, openDatabase, openStore, pendingMigrations, type Store } from './store/index.ts'

export async function migrateDatabase(config: Config, log: Log): Promise<string> {
  const applied = await withStore(config, log, async (store) => await migrate(store.db))
  return applied.length === 0 ? 'nothing to do\n' : `applied ${applied.join(', ')}\n`
}

export async function apply(config: Config, log: Log): Promise<string> {
  const changed = await withStore(config, log, async (store) => {
    await demandMigrated(store)
    return await applyConfig(createCatalog({ store, log }), config.file, 'toolcrib apply')
  })
  return changed ? 'applied; every gateway follows on its next request\n' : 'nothing to change\n'
}

/**
 * The way back when every admin key is lost. It asks for no key, because whoever can write to the database could
 * write one there; no server offers it. The record names the account and the machine that it was run from.
 */
export async function newAdminKey(
  config: Config,
  log: Log,
  name: string,
): Promise<{ id: AdminKeyId; key: Secret }> {
  return await withStore(config, log, async (store) => {
    await demandMigrated(store)
    await using adminKeys = createAdminKeys({ store, log })
    return await adminKeys.create(name, `toolcrib admin-key new, run by ${account()} on ${hostname()}`)
  })
}

export async function withStore<Result>(
  config: Config,
  log: Log,
  work: (store: Store) => Promise<Result>,
): Promise<Result> {
  await using database = await openDatabase({ url: config.databaseUrl, stateDir: config.stateDir, log })
  await using store = openStore({ url: database.url, poolSize: 2, log })
  return await work(store)
}

export async function demandMigrated(store: Store): Promise<void> {
  const pending = await pendingMigrations(store.db)
  if (pending.length === 0) return
  throw new AppError(
    'conflict',
    `the database is older than this version (${pending.join(', ')}); run \`toolcrib migrate\` first`,
  )
}

/** A user id has no name in many containers. */
export function account(): string {
  try {
    return userInfo().username
  } catch {
    return `user ${process.getuid?.() ?? 'unknown'}`
  }
}

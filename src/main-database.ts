import { hostname, userInfo } from 'node:os'
import { createAdminKeys } from './access/index.ts'
import { applyConfig, demandLiveRules } from './app-apply.ts'
import { createCatalog } from './catalog/index.ts'
import { type Config, demandWritten } from './config.ts'
import type { AdminKeyId, Log, Secret } from './core/index.ts'
import { demandMigrated, migrate, openDatabase, openStore, type Store } from './store/index.ts'

export async function migrateDatabase(config: Config, log: Log): Promise<string> {
  const applied = await withStore(config, log, async (store) => await migrate(store.db), {
    mayMake: true,
  })
  return applied.length === 0 ? 'nothing to do\n' : `applied ${applied.join(', ')}\n`
}

/** Throws `invalid_input` where no configuration is written: it would remove everything, and nobody said so. */
export async function apply(config: Config, log: Log): Promise<string> {
  demandWritten(config, removeAll)
  const { changed, removed } = await withStore(config, log, async (store) => {
    await demandMigrated(store.db)
    return await applyConfig(createCatalog({ store, log }), config, 'toolcrib apply')
  })
  if (!changed) return 'nothing to change\n'
  const gone = removed.length === 0 ? '' : `removed ${removed.join(', ')}, whose tools nobody can call now; `
  return `applied; ${gone}every gateway follows on its next request\n`
}

const removeAll = 'write `sources: {}` there to remove every source, toolkit and rule'

/** `apply --check`: what can be told without the database. Throws with what is wrong. */
export function checkConfig(config: Config): string {
  demandWritten(config, removeAll)
  demandLiveRules(config.file)
  const without = config.origin.namesSources
    ? ''
    : '; it has no `sources`, so it cannot be applied where the database has some'
  return `the configuration is valid${without}\n`
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
    await demandMigrated(store.db)
    await using adminKeys = createAdminKeys({ store, log })
    return await adminKeys.create(name, `toolcrib admin-key new, run by ${account()} on ${hostname()}`)
  })
}

/** Does `work` on the database of this configuration; the embedded one is made on first use only where it `mayMake`. */
export async function withStore<Result>(
  config: Config,
  log: Log,
  work: (store: Store) => Promise<Result>,
  { mayMake = false }: { mayMake?: boolean } = {},
): Promise<Result> {
  const { databaseUrl: url, stateDir } = config
  await using database = await openDatabase({ url, stateDir, log, mayMake })
  await using store = openStore({ url: database.url, poolSize: 2, log })
  return await work(store)
}

/** A user id has no name in many containers. */
export function account(): string {
  try {
    return userInfo().username
  } catch {
    return `user ${process.getuid?.() ?? 'unknown'}`
  }
}

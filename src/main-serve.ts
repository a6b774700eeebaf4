import { once } from 'node:events'
import { createGateway } from './app.ts'
import { applyConfig } from './app-apply.ts'
import { noIsolation, red } from './app-words.ts'
import { createCatalog } from './catalog/index.ts'
import type { Config } from './config.ts'
import { AppError, type Log } from './core/index.ts'
import { migrate, openDatabase, openStore, pendingMigrations } from './store/index.ts'

/** Runs the gateway until `stop`; with the embedded database when no other was named. */
export async function serve(options: {
  config: Config
  log: Log
  version: string
  json: boolean
  stop: AbortSignal
}): Promise<void> {
  const { config, log } = options
  await using database = await openDatabase({ url: config.databaseUrl, stateDir: config.stateDir, log })
  await using gateway = await createGateway({
    config,
    databaseUrl: database.url,
    log,
    version: options.version,
  })
  const publicUrl = config.file.public_url ?? gateway.url
  if (options.json) {
    const ready = {
      mcp: `${publicUrl}/mcp`,
      admin: gateway.url,
      adminKey: gateway.firstAdminKey?.reveal() ?? null,
      isolation: gateway.isolation,
      pids: { gateway: process.pid, database: database.pid },
    }
    process.stdout.write(`${JSON.stringify(ready)}\n`)
  } else {
    process.stdout.write(`MCP endpoint  ${publicUrl}/mcp\n`)
    if (gateway.isolation === 'none') process.stdout.write(`${red(noIsolation, process.stdout)}\n`)
    if (gateway.firstAdminKey !== undefined) {
      process.stdout.write(`Admin key     ${gateway.firstAdminKey.reveal()}   (shown once; keep it)\n`)
    }
  }
  if (!options.stop.aborted) await once(options.stop, 'abort')
  log.info({}, 'gateway stops')
}

export async function migrateDatabase(config: Config, log: Log): Promise<string> {
  await using database = await openDatabase({ url: config.databaseUrl, stateDir: config.stateDir, log })
  await using store = openStore({ url: database.url, poolSize: 1, log })
  const applied = await migrate(store.db)
  return applied.length === 0 ? 'nothing to do\n' : `applied ${applied.join(', ')}\n`
}

export async function apply(config: Config, log: Log): Promise<string> {
  await using database = await openDatabase({ url: config.databaseUrl, stateDir: config.stateDir, log })
  await using store = openStore({ url: database.url, poolSize: 2, log })
  const pending = await pendingMigrations(store.db)
  if (pending.length > 0) {
    throw new AppError(
      'conflict',
      `the database is older than this version (${pending.join(', ')}); run \`toolcrib migrate\` first`,
    )
  }
  const changed = await applyConfig(createCatalog({ store, log }), config.file, 'toolcrib apply')
  return changed ? 'applied; every gateway follows on its next request\n' : 'nothing to change\n'
}

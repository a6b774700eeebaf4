import { once } from 'node:events'
import { createGateway } from './app.ts'
import { noIsolation, red } from './app-words.ts'
import type { Config } from './config.ts'
import type { Log } from './core/index.ts'
import { openDatabase } from './store/index.ts'

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
  const gone = await Promise.race([
    options.stop.aborted ? undefined : once(options.stop, 'abort').then(() => undefined),
    database.gone,
  ])
  if (gone !== undefined) throw gone
  log.info({}, 'gateway stops')
}

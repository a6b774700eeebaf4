import { flushCompileCache } from 'node:module'
import { readEnvironment } from './environment.ts'
import { jsonLog } from './json-log.ts'
import { startToolhost } from './toolhost.ts'

/** Past the drain's own limits something is stuck; the driver's KILL would come next. */
const exitLimitMs = 5_000

// Whoever reads the log may go away; the sandbox goes on.
process.stderr.on('error', () => undefined)
const { settings, kubernetesApi } = readEnvironment()
const log = jsonLog({ name: 'toolhost', generation: settings.generation })
const toolhost = await startToolhost({ settings, kubernetesApi, log })

function stop(): void {
  void toolhost.drain()
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
log.info({ socketPath: settings.socketPath, startedInMs: Math.round(performance.now()) }, 'toolhost ready')
// Where NODE_COMPILE_CACHE is set the next start is faster, even after a KILL.
flushCompileCache()

await toolhost.drained
process.removeListener('SIGTERM', stop)
process.removeListener('SIGINT', stop)
setTimeout(() => process.exit(1), exitLimitMs).unref()

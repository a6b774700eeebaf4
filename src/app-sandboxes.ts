import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Ground } from './app-ground.ts'
import { type Config, egressSocketDir } from './config.ts'
import { AppError, type Log } from './core/index.ts'
import {
  createLocalDriver,
  createRunners,
  createToolhostClient,
  type RunnerDriver,
  type Runners,
} from './runners/index.ts'
import { egressCas } from './store/index.ts'

const appDir = dirname(dirname(fileURLToPath(import.meta.url)))

interface SandboxOptions {
  config: Config
  log: Log
  /** Goes on without isolation where `auto` finds none; left out, that is an error with the cure. */
  withoutIsolation: ((why: AppError) => void) | undefined
  stopAllOnClose: boolean
}

interface Sandboxes {
  driver: RunnerDriver
  runners: Runners
  /** The CAs that sandboxes trust, PEM, one or, while they change, two; undefined before an egress proxy ever started. */
  caCertificate(this: void): Promise<string | undefined>
}

/** Where people's tools run: the driver that makes sandboxes, and the runners that it makes them for. */
export async function openSandboxes(
  open: AsyncDisposableStack,
  ground: Ground,
  options: SandboxOptions,
): Promise<Sandboxes> {
  const { config, log } = options
  const { sandbox, replicas } = config.file
  const driver = await chooseDriver(options)
  const caCertificate = async () => {
    const trusted = await egressCas(ground.store.db)
    return trusted.length === 0 ? undefined : trusted.map((ca) => `${ca.certificate.trimEnd()}\n`).join('')
  }
  const toolhost = open.use(createToolhostClient())
  const runners = open.use(
    createRunners({
      ...ground,
      driver,
      toolhost,
      log,
      caCertificate,
      limits: {
        memoryBytes: sandbox.memory_mb * 1024 * 1024,
        processes: sandbox.processes,
        openFiles: sandbox.open_files,
        parallelCalls: sandbox.parallel_calls,
        queuedCalls: sandbox.queued_calls,
      },
      timings: {
        idleStopMs: sandbox.idle_stop,
        maxAgeMs: sandbox.max_age,
        maxAgeGraceMs: sandbox.max_age_grace,
        startDeadlineMs: sandbox.start_deadline_seconds * 1000,
        reapAfterSeconds: replicas.dead_after_seconds,
      },
      stopAllOnClose: options.stopAllOnClose,
    }),
  )
  return { driver, runners, caCertificate }
}

async function chooseDriver({ config, log, withoutIsolation }: SandboxOptions): Promise<RunnerDriver> {
  const { sandbox } = config.file
  await mkdir(egressSocketDir(config), { recursive: true, mode: 0o711 })
  const local = {
    stateDir: join(config.stateDir, 'sandboxes'),
    isolation: sandbox.isolation,
    nodePath: process.execPath,
    appDir,
    egressSocketDir: egressSocketDir(config),
    readOnlyPaths: sandbox.read_only_paths,
    hiddenPaths: [config.stateDir],
    log,
  }
  return await createLocalDriver(local).catch(async (error: unknown) => {
    const canDoWithout = withoutIsolation !== undefined && sandbox.isolation === 'auto'
    if (!canDoWithout || !(error instanceof AppError) || error.code !== 'isolation_unavailable') throw error
    withoutIsolation(error)
    return await createLocalDriver({ ...local, isolation: 'none' })
  })
}

import { dirname, join } from 'node:path'
import { AppError } from '../../core/index.ts'
import type { ToolhostSettingsInput } from '../../wire/index.ts'
import type { SandboxSpec } from '../driver.ts'
import { claimUserId } from './accounts.ts'
import { toolPath } from './chain.ts'
import type { CompileCache } from './compile-cache.ts'
import { composeCommand } from './compose.ts'
import { findControlGroups, removeControlGroups } from './control-groups.ts'
import { launch } from './launch.ts'
import type { Layout, RunnerPaths } from './layout.ts'
import { limitCommand, scratchBytes } from './limits.ts'
import { inside, planMounts } from './mounts.ts'
import { defaultFirstUserId, type LocalDriverOptions, type LocalIsolation } from './options.ts'
import { prepareFiles } from './prepare.ts'
import { descendants, isNamespaceInit, type ProcessRef, processTable } from './processes.ts'
import { type LifeRecord, readRecord, writeRecord } from './record.ts'
import { endStrays } from './stop.ts'

export type LifeOptions = Omit<LocalDriverOptions, 'isolation' | 'compileCache'> & {
  isolation: LocalIsolation
  layout: Layout
  compileCache: CompileCache
}

/** Makes one life of a sandbox; `held` when another process holds its name. `ended` is called when it ends. */
export type Life = (spec: SandboxSpec, signal: AbortSignal, ended: () => void) => Promise<LifeRecord | 'held'>

const startTimeoutMs = 20_000

export async function makeLife(options: LifeOptions): Promise<Life> {
  const { isolation, layout, log } = options
  const groups = isolation === 'none' ? undefined : await findControlGroups()
  const asRoot = process.getuid?.() === 0 && isolation !== 'none'
  log.info({ isolation, bounds: groups?.bounds ?? [] }, 'local sandboxes are ready to be made')

  return async (spec, signal, ended) => {
    const paths = layout.of(spec.name)
    const home = layout.home(spec.homeName)
    const userId = asRoot
      ? await claimUserId(layout, spec.homeName, options.firstUserId ?? defaultFirstUserId)
      : undefined
    const socketFolder =
      isolation === 'none' ? paths.shortSockets(spec.generation) : paths.sockets(spec.generation)
    const settings = settingsFor(options, paths, spec, { home, socketFolder })
    const command = commandFor(options, paths, spec, {
      home,
      socketFolder,
      userId,
      memoryBounded: groups?.bounds.includes('memory') === true,
    })
    let record: LifeRecord | undefined

    const launched = await launch({
      marker: paths.marker,
      lock: paths.lock,
      log: paths.log,
      command,
      signal,
      outlives: true,
      timeoutMs: startTimeoutMs,
      async prepare(head) {
        const before = await lastRecord(paths)
        await endStrays(paths, before, head)
        await removeControlGroups(before?.controlGroups ?? [])
        await prepareFiles({
          paths,
          spec,
          home,
          socketFolder,
          settings,
          userId,
        })
        const controlGroups = (await groups?.create(paths.controlGroup(spec.generation), spec.limits)) ?? []
        record = {
          name: spec.name,
          uid: spec.uid,
          generation: spec.generation,
          isolation,
          phase: 'creating',
          head,
          owner: userId ?? process.getuid?.() ?? -1,
          socketPath: join(socketFolder, 'toolhost.sock'),
          controlGroups,
        }
        await writeRecord(paths, record)
        return controlGroups
      },
    }).catch(async (error: unknown) => {
      if (record !== undefined) await removeControlGroups(record.controlGroups)
      log.warn({ runner: spec.name, generation: spec.generation, err: error }, 'sandbox could not be made')
      throw error
    })
    if (launched.kind === 'held') return 'held'
    if (record === undefined) throw new AppError('internal', 'A sandbox began without a record.')

    void launched.ended.then((code) => {
      log.info({ runner: spec.name, generation: spec.generation, code }, 'sandbox ended')
      ended()
    })
    const init = await findInit(launched.head)
    const started: LifeRecord = { ...record, phase: 'started', ...(init ? { init } : {}) }
    await writeRecord(paths, started)
    return started
  }
}

interface Places {
  home: string
  socketFolder: string
  userId: number | undefined
  memoryBounded: boolean
}

function settingsFor(
  options: LifeOptions,
  paths: RunnerPaths,
  spec: SandboxSpec,
  places: Pick<Places, 'home' | 'socketFolder'>,
): ToolhostSettingsInput {
  const common = { sandboxUid: spec.uid, generation: spec.generation, limits: spec.limits }
  return options.isolation === 'none'
    ? {
        ...common,
        socketPath: join(places.socketFolder, 'toolhost.sock'),
        egressSocketPath: join(options.egressSocketDir, 'proxy.sock'),
        caFile: join(paths.files(spec.generation), 'ca.pem'),
        home: places.home,
        probe: false,
      }
    : {
        ...common,
        socketPath: `${inside.sockets}/toolhost.sock`,
        egressSocketPath: `${inside.egress}/proxy.sock`,
        caFile: inside.ca,
        home: inside.home,
        probe: true,
        ...(options.compileCache.folder === undefined
          ? {}
          : { compileCache: { folder: inside.compileCache, covers: `${inside.app}/sources/` } }),
      }
}

function commandFor(options: LifeOptions, paths: RunnerPaths, spec: SandboxSpec, places: Places): string[] {
  const { isolation } = options
  const bare = isolation === 'none'
  const main = 'src/toolhost/main.ts'
  const program = bare
    ? [options.nodePath, join(options.appDir, main), join(paths.files(spec.generation), 'settings.json')]
    : [inside.node, `${inside.app}/${main}`, inside.settings]
  const limited =
    bare && process.platform !== 'linux'
      ? []
      : limitCommand(spec.limits, { ownUserNamespace: !bare, memoryBounded: places.memoryBounded })
  const scratch = scratchBytes(spec.limits)
  const mounts = bare
    ? []
    : planMounts({
        ...options,
        readOnlyPaths: options.readOnlyPaths ?? [],
        hiddenPaths: [options.stateDir, ...(options.hiddenPaths ?? [])],
        home: places.home,
        sockets: places.socketFolder,
        files: paths.files(spec.generation),
        scratchBytes: scratch,
        compileCache: options.compileCache.folder,
      })
  return composeCommand({
    isolation,
    marker: paths.marker,
    lock: paths.lock,
    userId: places.userId,
    mounts,
    environment: {
      PATH: bare ? `${dirname(options.nodePath)}:${toolPath}` : inside.path,
      HOME: bare ? places.home : inside.home,
      USER: 'crib',
      LOGNAME: 'crib',
      LANG: 'C.UTF-8',
      TMPDIR: '/tmp',
      ...(options.compileCache.folder === undefined ? {} : { NODE_COMPILE_CACHE: inside.compileCache }),
    },
    folder: bare ? places.home : inside.home,
    command: [...limited, ...program],
  })
}

async function lastRecord(paths: RunnerPaths): Promise<LifeRecord | undefined> {
  return await readRecord(paths).catch(() => undefined)
}

/** The first process of the new pid namespace; there is none under `none`. */
async function findInit(head: ProcessRef): Promise<ProcessRef | undefined> {
  const row = descendants(await processTable(), head.pid).find(({ pid }) => isNamespaceInit(pid))
  return row && { pid: row.pid, start: row.start }
}

import { chmod, mkdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../core/index.ts'
import type { RunnerDriver, SandboxFacts, SandboxSpec } from '../driver.ts'
import { openCompileCache } from './compile-cache.ts'
import { chooseIsolation } from './detect.ts'
import { dialSocket } from './dial.ts'
import { layoutOf } from './layout.ts'
import { type Life, makeLife } from './life.ts'
import { tellWhenListening } from './listening.ts'
import { makeLock } from './lock.ts'
import { factsOf, glance, look, lookClearly, strays } from './look.ts'
import type { LocalDriverOptions } from './options.ts'
import { isAlive } from './processes.ts'
import { entriesOf, readRecord } from './record.ts'
import { cleanUp, endLife, endStrays, endUnderLock } from './stop.ts'
import { watchRunners } from './watch.ts'

/** How long racing creators of one name wait for each other before one of them gives up. */
const raceMs = 15_000

/**
 * Sandboxes on this machine. They outlive the process that started them, and any process with the same
 * `stateDir` can look after them. Throws `isolation_unavailable`, with the cures, when the isolation cannot be
 * had; it never falls back to `none`.
 */
export async function createLocalDriver(options: LocalDriverOptions): Promise<RunnerDriver> {
  const layout = layoutOf(options.stateDir)
  await mkdir(layout.runners, { recursive: true, mode: 0o700 })
  await mkdir(layout.homes, { recursive: true, mode: 0o700 })
  for (const folder of [layout.runners, layout.homes]) await chmod(folder, 0o700)
  const isolation = await chooseIsolation(options)
  const make: Life = await makeLife({
    ...options,
    isolation,
    layout,
    compileCache: await openCompileCache({ ...options, isolation, layout }),
  })
  const watchers = new Set<(name: string) => void>()
  const changed = (name: string) => {
    for (const watcher of watchers) watcher(name)
  }

  return {
    kind: 'local',
    isolation,

    async ensure(spec, signal) {
      checkSpec(spec)
      const paths = layout.of(spec.name)
      await makeLock(paths)
      const deadline = Date.now() + raceMs
      for (;;) {
        signal.throwIfAborted()
        const record = await glance(paths)
        if (record !== undefined) {
          const ours = record.uid === spec.uid && record.generation === spec.generation
          return { kind: ours ? 'ours' : 'taken', facts: factsOf(record) }
        }
        // Taking the lock is the first that making does, so that it need not be tried before.
        const made = await make(spec, signal, () => changed(spec.name))
        if (made !== 'held') {
          changed(spec.name)
          tellWhenListening(made.socketPath, () => changed(spec.name))
          return { kind: 'ours', facts: factsOf(made) }
        }
        if (Date.now() > deadline) {
          throw new AppError('unavailable', `Sandbox ${spec.name} is held by another process; try again.`)
        }
        await sleep(10 + Math.random() * 30, undefined, { signal })
      }
    },

    async observe(name, signal) {
      const paths = layout.of(name)
      const seen = await lookClearly(paths, signal)
      if (seen.kind === 'alive') return factsOf(seen.record)
      for (const began = Date.now(); Date.now() < began + 3000; ) {
        const left = await strays(paths, seen.record)
        if (left.length === 0) return undefined
        // Nobody can reach them any more: their lock or their record was removed under them.
        if (Date.now() > began + 2000) await endUnderLock(paths, left)
        await sleep(20, undefined, { signal })
      }
      // Somebody may have started it anew while we waited.
      const again = await look(paths)
      if (again.kind === 'alive') return factsOf(again.record)
      throw new AppError('unavailable', `Sandbox ${name} has lost its supervisor, but parts of it still run.`)
    },

    async delete(name, uid, graceMs, signal) {
      const paths = layout.of(name)
      const seen = await lookClearly(paths, signal)
      const { record } = seen
      if (record?.uid !== uid) return
      if (seen.kind === 'alive') await endLife(paths, seen.record, graceMs, signal)
      else await endStrays(paths, record)
      await cleanUp(paths, record)
      changed(name)
    },

    async list(signal) {
      signal.throwIfAborted()
      const found: SandboxFacts[] = []
      for (const name of await entriesOf(layout.runners)) {
        const paths = layout.of(name)
        const seen = await look(paths)
        signal.throwIfAborted()
        // Between lock and record: whoever makes it finishes that within moments, or the list is in doubt.
        const clear = seen.kind === 'held' ? await lookClearly(paths, signal) : seen
        if (clear.kind === 'alive') found.push(factsOf(clear.record))
      }
      return found
    },

    watch(notify) {
      watchers.add(notify)
      const watching = watchRunners(layout, options.log, notify)
      return {
        async [Symbol.asyncDispose]() {
          watchers.delete(notify)
          await watching[Symbol.asyncDispose]()
        },
      }
    },

    async dial(facts) {
      const record = await readRecord(layout.of(facts.name))
      if (
        record?.uid !== facts.uid ||
        record.generation !== facts.generation ||
        !(await isAlive(record.head))
      ) {
        throw new AppError('unavailable', `Sandbox ${facts.name} of generation ${facts.generation} is gone.`)
      }
      return dialSocket(record.socketPath, record.owner)
    },
  }
}

function checkSpec(spec: SandboxSpec): void {
  if (/^[\w.:-]{1,100}$/.test(spec.uid) && Number.isSafeInteger(spec.generation) && spec.generation >= 0)
    return
  throw new AppError(
    'invalid_input',
    'A sandbox needs a uid of 1 to 100 letters, digits, dots, colons, dashes or underscores and a generation that is a whole number.',
  )
}

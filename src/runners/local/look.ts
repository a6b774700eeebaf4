import { existsSync, lstatSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../core/index.ts'
import type { SandboxFacts, SandboxPhase } from '../driver.ts'
import type { RunnerPaths } from './layout.ts'
import { tryUnderLock } from './lock.ts'
import { descendants, isAlive, markedProcesses, type ProcessRef, processTable } from './processes.ts'
import { type LifeRecord, readRecord } from './record.ts'

/**
 * `alive`: the recorded life runs. `held`: somebody holds the lock and no record says who yet (a creator at its
 * first step). `free`: nobody holds it; `record` is what the last life left, if anything.
 */
export type Look =
  | { kind: 'alive'; record: LifeRecord }
  | { kind: 'held' }
  | { kind: 'free'; record: LifeRecord | undefined }

/** By the record alone: `undefined` when it shows nobody alive, which the lock may still deny. */
export async function glance(paths: RunnerPaths): Promise<LifeRecord | undefined> {
  const record = await readable(paths)
  return record !== undefined && (await isAlive(record.head)) ? record : undefined
}

/** Reads the record first, because that is cheap; the kernel's lock decides whenever the record does not. */
export async function look(paths: RunnerPaths): Promise<Look> {
  if (!existsSync(paths.folder)) return { kind: 'free', record: undefined }
  const record = await glance(paths)
  if (record !== undefined) return { kind: 'alive', record }
  if ((await tryUnderLock(paths.lock, ['true'])) === 'ran')
    return { kind: 'free', record: await readable(paths) }
  const again = await glance(paths)
  return again === undefined ? { kind: 'held' } : { kind: 'alive', record: again }
}

/** A record that cannot be read says nothing; the lock and the process table still do. */
async function readable(paths: RunnerPaths): Promise<LifeRecord | undefined> {
  try {
    return await readRecord(paths)
  } catch (error) {
    if (error instanceof SyntaxError || (error as Error).name === 'ZodError') return undefined
    throw error
  }
}

/** Waits until no creator is between lock and record; throws when that takes too long to be one. */
export async function lookClearly(
  paths: RunnerPaths,
  signal: AbortSignal,
): Promise<Exclude<Look, { kind: 'held' }>> {
  const deadline = Date.now() + 3000
  for (;;) {
    signal.throwIfAborted()
    const seen = await look(paths)
    if (seen.kind !== 'held') return seen
    if (Date.now() > deadline) {
      throw new AppError(
        'unavailable',
        'A sandbox is being made by another process, and it is not known which.',
        {
          details: { folder: paths.folder },
        },
      )
    }
    await sleep(20, undefined, { signal })
  }
}

/**
 * What still lives of a sandbox whose lock is free: only ever the last moments of a chain that was killed.
 * `except`: the head of a chain that holds the lock meanwhile.
 */
export async function strays(
  paths: RunnerPaths,
  record: LifeRecord | undefined,
  except?: ProcessRef,
): Promise<ProcessRef[]> {
  const table = await processTable()
  const own = new Set(except && [except.pid, ...descendants(table, except.pid).map((row) => row.pid)])
  const found: ProcessRef[] = markedProcesses(table, paths.marker).filter((row) => !own.has(row.pid))
  if (record?.init !== undefined && (await isAlive(record.init))) found.push(record.init)
  return found
}

/** What is true of a recorded life now. */
export function factsOf(record: LifeRecord): SandboxFacts {
  const { name, uid, generation, socketPath } = record
  const listening = lstatSync(socketPath, { throwIfNoEntry: false })?.isSocket() === true
  const phase = phaseOf(record, listening)
  const message =
    phase === 'creating'
      ? 'the sandbox is being made'
      : phase === 'booting'
        ? 'the toolhost is starting'
        : null
  return { name, uid, generation, phase, address: listening ? socketPath : null, message }
}

function phaseOf(record: LifeRecord, listening: boolean): SandboxPhase {
  if (record.phase === 'stopping') return 'stopping'
  if (listening) return 'running'
  return record.phase === 'creating' ? 'creating' : 'booting'
}

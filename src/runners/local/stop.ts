import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../core/index.ts'
import { removeControlGroups } from './control-groups.ts'
import type { RunnerPaths } from './layout.ts'
import { makeLock, tryUnderLock } from './lock.ts'
import { strays } from './look.ts'
import {
  descendants,
  isAlive,
  isNamespaceInit,
  type ProcessRef,
  type ProcessRow,
  processTable,
  signalProcess,
} from './processes.ts'
import { type LifeRecord, writeRecord } from './record.ts'

/** After KILL, everything is gone within milliseconds, unless a process hangs in the kernel. */
const killPatienceMs = 10_000

/**
 * Ends a life that runs: TERM to the toolhost, which drains; after `graceMs` KILL to the first process of the
 * namespace, which takes everything inside with it. Returns when nothing that was seen of it is left; throws
 * when something is.
 */
export async function endLife(
  paths: RunnerPaths,
  record: LifeRecord,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const seen = new Map<number, ProcessRef>()
  const observe = async (): Promise<ProcessRow[]> => {
    const table = await processTable()
    const roots = [record.head.pid, ...seen.keys()]
    for (const row of roots.flatMap((root) => descendants(table, root))) {
      seen.set(row.pid, { pid: row.pid, start: row.start })
    }
    return table
  }
  const table = await observe()
  // Never brings back the record of a life that ended meanwhile.
  if (record.phase !== 'stopping' && (await isAlive(record.head))) {
    await writeRecord(paths, { ...record, phase: 'stopping' })
  }
  const toolhost = toolhostOf(table, record)
  if (toolhost !== undefined && graceMs > 0) await signalProcess(toolhost, 'SIGTERM')
  const deadline = Date.now() + (toolhost === undefined ? 0 : graceMs)
  while (Date.now() < deadline && (await isAlive(record.head))) {
    await sleep(Math.min(20, Math.max(1, deadline - Date.now())), undefined, { signal })
    // Without a namespace, children of a dead toolhost are found only through what was seen while it lived.
    if (record.isolation === 'none') await observe()
  }

  const patience = Date.now() + killPatienceMs
  for (;;) {
    if (record.isolation === 'none') await observe()
    const left = await alive([...seen.values(), record.head, ...(record.init ? [record.init] : [])])
    if (left.length === 0) break
    // First processes first: killing them ends their whole namespace.
    for (const ref of left.toSorted((a, b) => rank(a) - rank(b))) await signalProcess(ref, 'SIGKILL')
    if (Date.now() > patience) {
      throw new AppError(
        'runner_failed',
        `Sandbox ${record.name} does not end: ${left.length} processes hang.`,
        {
          details: { processes: left.map((ref) => ref.pid) },
        },
      )
    }
    await sleep(5)
  }
}

/** Ends what a broken chain left behind; the caller must be sure whose it is. */
export async function endStrays(
  paths: RunnerPaths,
  record: LifeRecord | undefined,
  except?: ProcessRef,
): Promise<void> {
  const patience = Date.now() + killPatienceMs
  for (;;) {
    const left = await strays(paths, record, except)
    if (left.length === 0) return
    for (const ref of left) await signalProcess(ref, 'SIGKILL')
    if (Date.now() > patience) throw new AppError('runner_failed', 'Remains of an older sandbox do not end.')
    await sleep(5)
  }
}

/**
 * Kills what was seen of a sandbox while its lock was free, and does so under the lock: what a creator has made since
 * holds it, and then nothing is done.
 */
export async function endUnderLock(paths: RunnerPaths, seen: readonly ProcessRef[]): Promise<void> {
  const living = await alive([...seen])
  if (living.length === 0) return
  await makeLock(paths)
  const script = 'kill -KILL "$@" 2>/dev/null; :'
  await tryUnderLock(paths.lock, ['/bin/sh', '-c', script, 'sh', ...living.map(({ pid }) => String(pid))])
}

/** Removes what a life left on disk, unless a newer one holds the lock: that one removes it itself. */
export async function cleanUp(paths: RunnerPaths, record: LifeRecord): Promise<void> {
  const { generation } = record
  const left = [paths.files(generation), dirname(record.socketPath), paths.record(generation)]
  if ((await tryUnderLock(paths.lock, ['rm', '-rf', '--', ...left])) === 'held') return
  await removeControlGroups(record.controlGroups)
}

/** The oldest child of the namespace's first process; without a namespace, the child of the chain's head. */
function toolhostOf(table: ProcessRow[], record: LifeRecord): ProcessRow | undefined {
  const below = descendants(table, record.head.pid)
  const parent = record.isolation === 'none' ? record.head : below.find((row) => isNamespaceInit(row.pid))
  if (parent === undefined) return undefined
  return below
    .filter((row) => row.ppid === parent.pid)
    .toSorted((a, b) => ticks(a) - ticks(b) || a.pid - b.pid)[0]
}

function ticks(ref: ProcessRef): number {
  return Number(ref.start.split(':').at(-1))
}

function rank(ref: ProcessRef): number {
  return isNamespaceInit(ref.pid) ? 0 : 1
}

async function alive(refs: ProcessRef[]): Promise<ProcessRef[]> {
  const checks = await Promise.all(refs.map(async (ref) => ((await isAlive(ref)) ? ref : undefined)))
  return checks.filter((ref) => ref !== undefined)
}

import { lstatSync, statSync } from 'node:fs'
import { truncate } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../core/index.ts'
import type { Layout, RunnerPaths } from './layout.ts'
import { isAlive } from './processes.ts'
import { entriesOf, type LifeRecord, readRecord } from './record.ts'

const calmMs = 250
/** While something boots somebody waits for it. */
const eagerMs = 20
/** A toolhost that prints without end gets an empty log again; it appends, so that nothing breaks. */
const longestLog = 4 * 1024 * 1024
const logEveryMs = 5000

interface Glimpse {
  record: LifeRecord | undefined
  /** Of the runner's folder: every change of a record changes it. */
  changedAt: number
  alive: boolean
  listening: boolean
}

/**
 * Looks at every runner again and again and says which one looks different. Cheap on purpose: a runner that has
 * not changed costs one `stat` and one read of /proc. It may be wrong, and only ever hints.
 */
export function watchRunners(layout: Layout, log: Log, changed: (name: string) => void): AsyncDisposable {
  const stop = new AbortController()
  const known = new Map<string, Glimpse>()
  const loop = async () => {
    while (!stop.signal.aborted) {
      const booting = await round().catch((err: unknown) => {
        log.warn({ err }, 'looking at the sandboxes failed')
        return false
      })
      await sleep(booting ? eagerMs : calmMs, undefined, { signal: stop.signal, ref: false }).catch(
        () => undefined,
      )
    }
  }
  let logsSeenAt = 0
  const round = async (): Promise<boolean> => {
    let booting = false
    const lookAtLogs = performance.now() - logsSeenAt > logEveryMs
    if (lookAtLogs) logsSeenAt = performance.now()
    for (const name of await entriesOf(layout.runners)) {
      const before = known.get(name)
      const now = await glimpse(layout.of(name), before)
      if (now === undefined) continue
      known.set(name, now)
      if (lookAtLogs) await shorten(layout.of(name).log)
      booting ||= now.alive && !now.listening
      if (before === undefined ? now.alive : differs(before, now)) changed(name)
    }
    return booting
  }
  const running = loop()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

async function shorten(log: string): Promise<void> {
  const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0
  if (size > longestLog) await truncate(log)
}

function differs(a: Glimpse, b: Glimpse): boolean {
  return (
    a.alive !== b.alive ||
    a.listening !== b.listening ||
    a.record?.uid !== b.record?.uid ||
    a.record?.phase !== b.record?.phase
  )
}

async function glimpse(paths: RunnerPaths, before: Glimpse | undefined): Promise<Glimpse | undefined> {
  const changedAt = statSync(paths.folder, { throwIfNoEntry: false })?.mtimeMs
  if (changedAt === undefined) return undefined
  let record = before?.changedAt === changedAt ? before.record : await readRecord(paths)
  let alive = record !== undefined && (await isAlive(record.head))
  if (!alive && before?.alive === true) {
    // Two changes within one tick of the file system's clock look like one.
    record = await readRecord(paths)
    alive = record !== undefined && (await isAlive(record.head))
  }
  const listening =
    alive &&
    record !== undefined &&
    lstatSync(record.socketPath, { throwIfNoEntry: false })?.isSocket() === true
  return { record, changedAt, alive, listening }
}

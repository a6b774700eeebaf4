import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { randomText } from '../../core/index.ts'
import type { RunnerPaths } from './layout.ts'

const processRef = z.object({ pid: z.number().int().positive(), start: z.string() })

/** What is written down about one life of a sandbox, before it begins to run. */
const record = z.object({
  name: z.string(),
  uid: z.string(),
  generation: z.number().int(),
  isolation: z.enum(['bubblewrap', 'unshare', 'none']),
  phase: z.enum(['creating', 'started', 'stopping']),
  /** The process that holds the lock: when it ends, everything does. */
  head: processRef,
  /** The first process of the sandbox's pid namespace. */
  init: processRef.optional(),
  /** Who may own the toolhost's socket. */
  owner: z.number().int(),
  socketPath: z.string(),
  controlGroups: z.array(z.string()),
})
export type LifeRecord = z.infer<typeof record>

/** Replaces the record in one step: a reader sees the old one or the new one, never a half. */
export async function writeRecord(paths: RunnerPaths, value: LifeRecord): Promise<void> {
  const target = paths.record(value.generation)
  const draft = `${target}.${randomText(8)}.draft`
  await writeFile(draft, JSON.stringify(value), { mode: 0o600 })
  await rename(draft, target)
}

/** The record of the newest life, `undefined` when none was ever written or it was cleaned away. */
export async function readRecord(paths: RunnerPaths): Promise<LifeRecord | undefined> {
  const newest = (await generationsIn(paths)).at(-1)
  if (newest === undefined) return undefined
  try {
    return record.parse(JSON.parse(await readFile(paths.record(newest), 'utf8')))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Generations that have a record, oldest first. */
async function generationsIn(paths: RunnerPaths): Promise<number[]> {
  return (await entriesOf(paths.folder))
    .map((entry) => /^g(\d+)\.json$/.exec(entry)?.[1])
    .filter((text) => text !== undefined)
    .map(Number)
    .toSorted((a, b) => a - b)
}

/** Everything that earlier lives left behind, for whoever holds the lock to remove. */
export async function leftovers(paths: RunnerPaths): Promise<string[]> {
  const entries = await entriesOf(paths.folder)
  return entries.filter((entry) => /^g\d+\./.test(entry)).map((entry) => join(paths.folder, entry))
}

export async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

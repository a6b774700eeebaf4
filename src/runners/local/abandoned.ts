import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Far longer than any of the work takes whose folders are looked for. */
const abandonedMs = 10 * 60_000

/**
 * Removes the entries of `folder` that somebody who was killed left: ours, named like `name`, and untouched for ten
 * minutes. A younger one may be another process's work. What cannot be removed stays.
 */
export async function removeAbandoned(folder: string, name: RegExp): Promise<void> {
  const entries = await readdir(folder).catch(() => [])
  for (const entry of entries.filter((each) => name.test(each))) {
    const path = join(folder, entry)
    const facts = await lstat(path).catch(() => undefined)
    if (facts === undefined || facts.uid !== process.getuid?.()) continue
    if (Date.now() - facts.mtimeMs > abandonedMs)
      await rm(path, { recursive: true, force: true }).catch(() => undefined)
  }
}

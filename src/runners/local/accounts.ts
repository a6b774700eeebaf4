import { createHash } from 'node:crypto'
import { link, lstat, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError, randomText } from '../../core/index.ts'
import type { Layout } from './layout.ts'

const range = 65_536

/**
 * The user that a home belongs to, chosen once and kept: its hash says where to begin, and the first free number
 * from there is claimed by a file that only one claimer can make. Two homes never share a user.
 */
export async function claimUserId(layout: Layout, homeName: string, first: number): Promise<number> {
  await mkdir(layout.userIds, { recursive: true, mode: 0o700 })
  const begin = createHash('sha256').update(homeName).digest().readUInt16BE(0)
  const draft = join(layout.userIds, `.${randomText(12)}.draft`)
  await writeFile(draft, homeName, { mode: 0o600 })
  try {
    for (let step = 0; step < range; step++) {
      const userId = first + ((begin + step) % range)
      const claim = join(layout.userIds, String(userId))
      const holder = await linkOnce(draft, claim)
      if (holder === homeName) return userId
    }
  } finally {
    await rm(draft, { force: true })
  }
  throw new AppError('runner_failed', `All ${range} users for sandboxes from ${first} on are in use.`)
}

/** Whose claim it is after trying to make it. */
async function linkOnce(draft: string, claim: string): Promise<string> {
  try {
    await link(draft, claim)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return await readFile(claim, 'utf8')
}

/** True when somebody other than `userId` owns the folder itself. */
export async function isForeign(folder: string, userId: number): Promise<boolean> {
  return (await lstat(folder)).uid !== userId
}

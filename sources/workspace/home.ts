import { lstat, realpath } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'

/** An error whose message is for the agent as it is. */
export class RefusedPath extends Error {}

/** The person's persistent home. */
export const home: string = await realpath(homedir())

/**
 * The real path behind `path`, which is taken relative to the home and may not exist yet. Throws `RefusedPath` for
 * anything that leads out of the home, links included.
 */
export async function inHome(path: string): Promise<string> {
  const real = await realPathOf(resolve(home, path), path)
  const way = relative(home, real)
  if (way === '..' || way.startsWith('../') || way.startsWith('/'))
    throw new RefusedPath(`"${path}" leads out of your home (${home}); give a path inside it`)
  return real
}

async function realPathOf(absolute: string, given: string): Promise<string> {
  try {
    return await realpath(absolute)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    if (await isLink(absolute))
      throw new RefusedPath(`"${given}" passes a link that leads nowhere`, { cause: error })
    // Not there yet: its folder decides.
    return join(await realPathOf(dirname(absolute), given), basename(absolute))
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink()
  } catch {
    return false
  }
}

/** The code of a system error, such as `ENOENT`; undefined for anything else. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
}

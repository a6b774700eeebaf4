import { lstatSync, watch } from 'node:fs'
import { dirname } from 'node:path'

/** A toolhost that listens later than this is found by looking. */
const limitMs = 30_000

/**
 * Calls `changed` at once when the toolhost of a new sandbox listens, so that nobody has to look again and again.
 * Only a hint: the folder belongs to the sandbox. It ends when the toolhost has closed its socket to others, its
 * last step before it serves, and so before anything of a person runs that could make changes without end.
 */
export function tellWhenListening(socketPath: string, changed: () => void): void {
  const timer = setTimeout(() => end(), limitMs).unref()
  const end = () => {
    clearTimeout(timer)
    watcher?.close()
  }
  const look = () => {
    const socket = lstatSync(socketPath, { throwIfNoEntry: false })
    if (socket === undefined) return
    if ((socket.mode & 0o077) === 0) end()
    changed()
  }
  const watcher = open(dirname(socketPath), look)
  if (watcher === undefined) return end()
  watcher.on('error', end)
  look()
}

/** `undefined` where no watch can be had, or the folder is gone already: the clock remains. */
function open(folder: string, look: () => void): ReturnType<typeof watch> | undefined {
  try {
    return watch(folder, { persistent: false }, look)
  } catch {
    return undefined
  }
}

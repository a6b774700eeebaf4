import { closeSync, fstatSync, openSync } from 'node:fs'
import { AppError } from '../../core/index.ts'
import type { ToolhostDial } from '../driver.ts'

/** From `open(2)`; Node does not name O_PATH. With O_NOFOLLOW it opens a link itself, never what it points to. */
const openPath = 0o10000000
const noFollow = 0o400000

/**
 * The socket lies in a directory that the sandbox writes, so at any moment it may be a link to somebody else's.
 * What was opened here cannot be exchanged any more: it is checked to be a socket made by `owner`, and dialled
 * through the descriptor. Throws `unavailable` when there is none (yet, or any more).
 */
export function dialSocket(path: string, owner: number): ToolhostDial {
  if (process.platform !== 'linux') return { socketPath: path, release() {} }
  let fd: number
  try {
    fd = openSync(path, openPath | noFollow)
  } catch (error) {
    throw new AppError('unavailable', 'The toolhost is not listening.', { cause: error })
  }
  const stat = fstatSync(fd)
  if (!stat.isSocket() || stat.uid !== owner) {
    closeSync(fd)
    throw new AppError('unavailable', 'What lies in place of the toolhost’s socket is not its socket.', {
      details: { isSocket: stat.isSocket(), owner: stat.uid, expectedOwner: owner },
    })
  }
  let open = true
  return {
    socketPath: `/proc/self/fd/${fd}`,
    release() {
      if (open) closeSync(fd)
      open = false
    },
  }
}

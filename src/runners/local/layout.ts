import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'
import { AppError } from '../../core/index.ts'

/** Where the driver keeps things, by runner. Nothing here is ever derived from what a sandbox wrote. */
export interface Layout {
  stateDir: string
  runners: string
  homes: string
  userIds: string
  /** What the markers of all runners begin with. */
  marker: string
  of(name: string): RunnerPaths
  home(homeName: string): string
}

export interface RunnerPaths {
  folder: string
  /** Locked by the kernel while a sandbox of this name lives; never removed, so that there is only one. */
  lock: string
  log: string
  /** In the command line of every supervising process: how a sandbox without a record is found. */
  marker: string
  record(generation: number): string
  controlGroup(generation: number): string
  /** What one life sees read-only: settings, CA, its own /etc files. */
  files(generation: number): string
  /** Mounted writable: the toolhost makes its socket in it. */
  sockets(generation: number): string
  /** Short enough to be bound by its whole path, for a toolhost that has no mounts of its own. */
  shortSockets(generation: number): string
}

/** macOS allows 104 bytes with the closing zero, Linux 108. */
const longestSocketPath = 103
const safeName = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/

export function layoutOf(stateDir: string): Layout {
  const root = resolve(stateDir)
  const deployment = createHash('sha256').update(root).digest('hex').slice(0, 10)
  const marker = `toolcrib-runner:${deployment}:`
  return {
    stateDir: root,
    runners: join(root, 'runners'),
    homes: join(root, 'homes'),
    userIds: join(root, 'user-ids'),
    marker,
    home: (homeName) => join(root, 'homes', checked('home', homeName)),
    of(name) {
      const folder = join(root, 'runners', checked('runner', name))
      return {
        folder,
        lock: join(folder, 'lock'),
        log: join(folder, 'log'),
        marker: `${marker}${name}`,
        controlGroup: (generation) => `${deployment}-${name}-g${generation}`,
        record: (generation) => join(folder, `g${generation}.json`),
        files: (generation) => join(folder, `g${generation}.files`),
        sockets: (generation) => join(folder, `g${generation}.sockets`),
        shortSockets(generation) {
          const usual = join(folder, `g${generation}.sockets`)
          if (usual.length + '/toolhost.sock'.length < longestSocketPath) return usual
          const short = createHash('sha256').update(folder).digest('hex').slice(0, 16)
          return `/tmp/toolcrib-${short}-g${generation}`
        },
      }
    },
  }
}

/** Names become paths and command-line arguments: anything that could be more than a name is refused. */
function checked(what: string, name: string): string {
  if (safeName.test(name) && !name.includes('..')) return name
  throw new AppError(
    'invalid_input',
    `A ${what} name is 1 to 63 of a-z, 0-9, dot, dash and underscore, beginning and ending with a letter or digit; got ${JSON.stringify(name.slice(0, 80))}.`,
  )
}

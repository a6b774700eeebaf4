import { join } from 'node:path'
import { AppError } from '../../core/index.ts'
import { bubblewrapCommand, type SandboxCommand } from './bubblewrap.ts'
import { insideScript, stageScript } from './chain.ts'
import { type Mount, staged, stageFolder } from './mounts.ts'
import type { LocalIsolation } from './options.ts'
import { unshareCommand } from './unshare.ts'

export interface Composition extends SandboxCommand {
  isolation: LocalIsolation
  lock: string
  /** The user to become first; `undefined`: stay who we are (never root, except under `none`). */
  userId: number | undefined
}

/** What boot becomes once it may go on: argv, from the user change down to the toolhost. */
export function composeCommand(wanted: Composition): string[] {
  if (wanted.isolation === 'none') return bareCommand(wanted)
  const stage = stageFolder(wanted.mounts, wanted.lock)
  if (stage === undefined) {
    throw new AppError(
      'isolation_unavailable',
      'There is no directory to build a sandbox on: one of /mnt, /media, /srv, /opt, /var/tmp, /tmp or /home must exist and hold none of the paths that are mounted.',
    )
  }
  if (wanted.userId === undefined) return isolate(wanted, wanted.mounts, wanted.lock, stage)
  const { mounts, binds } = staged(wanted.mounts, stage)
  const lock = join(stage, 'lock')
  return [
    ['unshare', '--mount', '--propagation', 'private', '--'],
    ['/bin/sh', '-c', stageScript, wanted.marker],
    [stage, String(wanted.userId), mountTable([...binds, [wanted.lock, lock]])],
    [...binds.flat(), wanted.lock, lock],
    '--',
    isolate(wanted, mounts, lock, join(stage, 'root')),
  ].flat()
}

/** Binds as lines of fstab(5), where what separates fields is written as octal numbers. */
function mountTable(binds: [from: string, to: string][]): string {
  const field = (path: string) =>
    path.replace(/[ \t\n\\]/g, (one) => `\\${one.charCodeAt(0).toString(8).padStart(3, '0')}`)
  return binds.map(([from, to]) => `${field(from)} ${field(to)} none rbind 0 0\n`).join('')
}

function isolate(wanted: Composition, mounts: Mount[], lock: string, root: string): string[] {
  return wanted.isolation === 'bubblewrap'
    ? bubblewrapCommand({ ...wanted, mounts })
    : unshareCommand({ ...wanted, mounts }, lock, root)
}

/** No sandbox at all: a child with a clean environment and its own process group. */
function bareCommand(wanted: Composition): string[] {
  const environment = Object.entries(wanted.environment).map(([name, value]) => `${name}=${value}`)
  return [
    ['/bin/sh', '-c', 'cd "$1" && shift && exec "$@"', wanted.marker, wanted.folder],
    ['env', '-i', ...environment, '/bin/sh', '-c', insideScript, wanted.marker],
    wanted.command,
  ].flat()
}

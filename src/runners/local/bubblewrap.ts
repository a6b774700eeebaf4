import { insideScript } from './chain.ts'
import type { Mount } from './mounts.ts'

export interface SandboxCommand {
  marker: string
  mounts: Mount[]
  environment: Record<string, string>
  /** Runs inside, unprivileged, in `folder`. */
  command: string[]
  folder: string
}

/** argv that becomes a bubblewrap sandbox. It dies with its parent, and its processes with it. */
export function bubblewrapCommand(sandbox: SandboxCommand): string[] {
  return [
    'bwrap',
    '--unshare-user',
    '--unshare-pid',
    '--unshare-ipc',
    '--unshare-uts',
    '--unshare-net',
    '--unshare-cgroup-try',
    '--disable-userns',
    ['--uid', '1000', '--gid', '1000', '--hostname', 'crib'],
    '--die-with-parent',
    '--new-session',
    ['--cap-drop', 'ALL'],
    '--clearenv',
    Object.entries(sandbox.environment).flatMap(([name, value]) => ['--setenv', name, value]),
    sandbox.mounts.flatMap(mountArguments),
    ['--remount-ro', '/dev', '--remount-ro', '/'],
    ['--chdir', sandbox.folder],
    ['--', '/bin/sh', '-c', insideScript, sandbox.marker],
    sandbox.command,
  ].flat()
}

function mountArguments(mount: Mount): string[] {
  switch (mount.kind) {
    case 'ro':
      return ['--ro-bind', mount.from, mount.to]
    case 'rw':
      return ['--bind', mount.from, mount.to]
    case 'symlink':
      return ['--symlink', mount.from, mount.to]
    case 'tmpfs':
      return ['--perms', mount.mode, '--size', String(mount.bytes), '--tmpfs', mount.to]
    case 'proc':
      return ['--proc', mount.to]
    case 'dev':
      return ['--dev', mount.to]
  }
}

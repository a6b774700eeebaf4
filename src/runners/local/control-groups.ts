import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SandboxSpec } from '../driver.ts'

/** Where control groups of ours can be made; empty lists mean that this machine gives us none. */
export interface ControlGroups {
  /** Makes the groups of one life and returns their folders; those that cannot be made are left out. */
  create(name: string, limits: SandboxSpec['limits']): Promise<string[]>
  /** `memory`, `pids`: what is bounded for a sandbox as a whole. */
  readonly bounds: string[]
}

interface Controller {
  kind: 'memory' | 'pids'
  parent: string
  /** In every group below `parent` when the controller reaches there. */
  proof: string
  limits: (limits: SandboxSpec['limits']) => [file: string, value: number][]
}

const root = '/sys/fs/cgroup'

/**
 * Looks for control groups that this process may divide: version 2 when delegated to us, version 1 when
 * writable. They bound a sandbox as a whole, which per-process limits cannot; where there are none, the
 * per-process limits and the toolhost's own guard remain.
 */
export async function findControlGroups(): Promise<ControlGroups> {
  const controllers = process.platform === 'linux' ? await usable(candidates()) : []
  return {
    bounds: controllers.map((controller) => controller.kind),
    async create(name, limits) {
      const made: string[] = []
      for (const { parent, limits: files } of controllers) {
        const folder = join(parent, `toolcrib-${name}`)
        try {
          await mkdir(folder, { recursive: true })
          for (const [file, value] of files(limits)) {
            // A kernel without swap accounting has no such file, and nothing to bound there.
            if (existsSync(join(folder, file))) await writeFile(join(folder, file), String(value))
          }
          if (!made.includes(folder)) made.push(folder)
        } catch {
          await removeControlGroups([folder])
        }
      }
      return made
    },
  }
}

/**
 * Removes groups whose processes have ended; the last of them may take a moment to leave. One that stays busy
 * stays, and the next life of that name and generation takes it over.
 */
export async function removeControlGroups(folders: string[]): Promise<void> {
  for (const folder of folders) {
    if (!folder.startsWith(`${root}/`)) continue
    for (let attempt = 0; attempt < 20; attempt++) {
      const busy = await rmdir(folder).then(
        () => false,
        (error: NodeJS.ErrnoException) => error.code === 'EBUSY',
      )
      if (!busy) break
      await sleep(10)
    }
  }
}

function candidates(): Controller[] {
  return readFileSync('/proc/self/cgroup', 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [, names = '', path = '/'] = line.split(':')
      if (names === '') return versionTwo(path)
      if (names === 'memory') return [memoryOne(join(root, 'memory', path))]
      if (names === 'pids') return [pidsOf(join(root, 'pids', path))]
      return []
    })
}

/** A group that holds processes cannot hand controllers down, so the sibling place is tried as well. */
function versionTwo(path: string): Controller[] {
  const own = join(root, path)
  return [own, dirname(own)]
    .filter((parent) => parent.startsWith(root) && existsSync(join(parent, 'cgroup.subtree_control')))
    .flatMap((parent) => {
      const given = readFileSync(join(parent, 'cgroup.subtree_control'), 'utf8').split(/\s+/)
      return [
        ...(given.includes('memory') ? [memoryTwo(parent)] : []),
        ...(given.includes('pids') ? [pidsOf(parent)] : []),
      ]
    })
}

function memoryOne(parent: string): Controller {
  const proof = 'memory.limit_in_bytes'
  return { kind: 'memory', parent, proof, limits: (limits) => [[proof, limits.memoryBytes]] }
}

function memoryTwo(parent: string): Controller {
  return {
    kind: 'memory',
    parent,
    proof: 'memory.max',
    limits: (limits) => [
      ['memory.max', limits.memoryBytes],
      ['memory.swap.max', 0],
    ],
  }
}

/** A little more than RLIMIT_NPROC, which answers a fork with a clean error: the group also holds supervisors. */
function pidsOf(parent: string): Controller {
  return {
    kind: 'pids',
    parent,
    proof: 'pids.max',
    limits: (limits) => [['pids.max', limits.processes + 16]],
  }
}

/** One place per kind, proven by making a group there. */
async function usable(found: Controller[]): Promise<Controller[]> {
  const good: Controller[] = []
  for (const controller of found) {
    if (good.some((other) => other.kind === controller.kind)) continue
    const probe = join(controller.parent, `toolcrib-probe-${process.pid}`)
    try {
      accessSync(join(controller.parent, 'cgroup.procs'), constants.W_OK)
      await mkdir(probe)
      if (existsSync(join(probe, controller.proof))) good.push(controller)
    } catch {
      // Not ours to divide: the next candidate, or none.
    } finally {
      await rmdir(probe).catch(() => undefined)
    }
  }
  return good
}

import { open, readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

export interface Process {
  pid: number
  parent: number
  group: number
  commandLine: string
}

/** Every process of this machine that can be seen; those that end meanwhile are left out. */
export async function processes(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const found = await Promise.all(pids.map(look))
  return found.filter((process) => process !== undefined)
}

/** What /proc says of a process; undefined when it is gone, or dead and only not yet waited for. */
export async function look(pid: number): Promise<Process | undefined> {
  try {
    const [stat, commandLine] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ])
    const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (state === 'Z' || state === 'X') return undefined
    return {
      pid,
      parent: Number(parent),
      group: Number(group),
      commandLine: commandLine.replaceAll('\0', ' '),
    }
  } catch {
    return undefined
  }
}

/** The processes of the one sandbox in `folder` whose runner is named after `person`: its head and all below. */
export async function sandboxOf(folder: string, person: string): Promise<Process[]> {
  const all = await processes()
  const mark = `${folder}/sandboxes/runners/r-${person}-`
  const inside = new Map(
    all.filter(({ commandLine }) => commandLine.includes(mark)).map((head) => [head.pid, head]),
  )
  for (let before = -1; before !== inside.size; ) {
    before = inside.size
    for (const each of all) if (inside.has(each.parent)) inside.set(each.pid, each)
  }
  return [...inside.values()]
}

/** Where in what belongs to process `pid` one of these stands: its environment, arguments, memory and open files. */
export async function searchProcess(pid: number, needles: Buffer[]): Promise<string[]> {
  const found: string[] = []
  for (const name of ['environ', 'cmdline']) {
    const bytes = await readFile(`/proc/${pid}/${name}`).catch(() => Buffer.alloc(0))
    if (holds(bytes, needles)) found.push(`${pid} ${name}`)
  }
  if (await memoryHolds(pid, needles)) found.push(`${pid} memory`)
  for (const file of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')
    // Pipes, sockets and devices are read empty by looking; their content stands in somebody's memory.
    if (!target.startsWith('/') || target.startsWith('/dev/') || target.startsWith('/proc/')) continue
    const bytes = await readFile(`/proc/${pid}/fd/${file}`).catch(() => Buffer.alloc(0))
    if (holds(bytes, needles)) found.push(`${pid} ${target}`)
  }
  return found
}

const holds = (bytes: Buffer, needles: Buffer[]) => needles.some((needle) => bytes.includes(needle))
const chunkBytes = 1024 * 1024
const pageBytes = 4096

/**
 * Reads all memory that the process itself could have written: what is mapped read-only from a file is that file.
 * Throws where this user may not read another process's memory.
 */
async function memoryHolds(pid: number, needles: Buffer[]): Promise<boolean> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8')
  await using memory = await open(`/proc/${pid}/mem`, 'r')
  // What ends one chunk is looked at again with the next.
  const overlap = pageBytes
  const buffer = Buffer.alloc(chunkBytes + overlap)
  for (const line of maps.split('\n')) {
    const [, from, to, rights = '', name = ''] =
      /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)$/.exec(line) ?? []
    if (from === undefined || !rights.startsWith('r') || /^\[(vvar|vsyscall)/.test(name)) continue
    if (!rights.includes('w') && name.startsWith('/')) continue
    const end = BigInt(`0x${to}`)
    for (let at = BigInt(`0x${from}`); at < end; at += BigInt(chunkBytes)) {
      const length = Number(end - at < BigInt(buffer.length) ? end - at : BigInt(buffer.length))
      // A page that is mapped but not there (a guard, the end of a file) cannot be read: nothing stands in it.
      const read = await memory.read(buffer, 0, length, at).catch(() => undefined)
      if (read !== undefined && holds(buffer.subarray(0, read.bytesRead), needles)) return true
    }
  }
  return false
}

/** Every file below `folder` that holds one of these; links are not followed. */
export async function searchFolder(folder: string, needles: Buffer[]): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])
  const found: string[] = []
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const bytes = await readFile(path).catch(() => Buffer.alloc(0))
    if (holds(bytes, needles)) found.push(path)
  }
  return found
}

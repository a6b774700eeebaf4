import { readdirSync, readFileSync } from 'node:fs'

/** One process of a contestant; `cpuMs` is user and system time since its start. */
export interface Process {
  pid: number
  command: string
  cpuMs: number
  rssMb: number
}

/** Clock ticks of `/proc/<pid>/stat`: USER_HZ is 100 on every Linux that Node runs on. */
const tickMs = 10

/** These processes and everything below them. Whatever ends meanwhile is left out. */
export function processTree(roots: readonly number[]): Process[] {
  const parents = new Map<number, number>()
  const found = new Map<number, Process>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const pid = Number(entry)
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      parents.set(pid, Number(fields[1]))
      found.set(pid, {
        pid,
        command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(),
        cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs,
        rssMb: (Number(fields[21]) * 4096) / 1024 / 1024,
      })
    } catch {
      // gone meanwhile
    }
  }
  const inTree = (pid: number): boolean => roots.includes(pid) || (pid > 1 && inTree(parents.get(pid) ?? 0))
  return [...found.values()].filter(({ pid }) => inTree(pid))
}

/** Processes whose command line names `text`: what outlives its parent is found by its folder. */
export function processesNaming(text: string): number[] {
  return processTree([1])
    .filter(({ pid, command }) => pid !== process.pid && command.includes(text))
    .map(({ pid }) => pid)
}

/** MiB of the tree; pages that several processes share count once (PSS), where the kernel tells. */
export function treeMemory(roots: readonly number[]): number {
  return processTree(roots).reduce((sum, { pid, rssMb }) => sum + (proportional(pid) ?? rssMb), 0)
}

export function residentMemory(pid: number): number {
  return processTree([pid]).find((process) => process.pid === pid)?.rssMb ?? Number.NaN
}

function proportional(pid: number): number | undefined {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1024
  } catch {
    return undefined
  }
}

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'

/** The processes of one sandbox as the machine's own process table shows them. */
export interface SandboxProcesses {
  name: string
  /** Everything: supervisors, toolhost, sources and what these started; outermost first. */
  pids: number[]
  toolhosts: number[]
}

interface Row {
  pid: number
  ppid: number
}

/** Every sandbox below `stateDir` (the driver's) that has a living process. */
export async function sandboxesOf(stateDir: string): Promise<SandboxProcesses[]> {
  const deployment = createHash('sha256').update(resolve(stateDir)).digest('hex').slice(0, 10)
  const marker = new RegExp(`toolcrib-runner:${deployment}:([a-z0-9._-]+)`)
  const table = processes()
  const found = new Map<string, Set<number>>()
  for (const { pid } of table) {
    const name = marker.exec(commandLine(pid))?.[1]
    if (name === undefined) continue
    const pids = found.get(name) ?? new Set()
    found.set(name, pids.add(pid))
    for (const below of descendants(table, pid)) pids.add(below)
  }
  return [...found].map(([name, pids]) => ({
    name,
    pids: [...pids].toSorted((a, b) => a - b),
    toolhosts: [...pids].filter((pid) =>
      /^[^\0]*node\0[^\0]*src\/toolhost\/main\.ts\0/.test(commandLine(pid)),
    ),
  }))
}

/** Every process that lives; those that only wait to be buried are left out. */
export function processes(): Row[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => readRow(Number(entry)) ?? [])
}

export function readRow(pid: number): Row | undefined {
  const text = read(pid, 'stat')
  // The name in parentheses may hold anything: fields count from the last one.
  const [state, ppid] = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return text === '' || state === 'Z' || state === 'X' ? undefined : { pid, ppid: Number(ppid) }
}

function descendants(table: Row[], root: number): number[] {
  const children = table.filter(({ ppid }) => ppid === root).map(({ pid }) => pid)
  return children.flatMap((pid) => [pid, ...descendants(table, pid)])
}

function commandLine(pid: number): string {
  return read(pid, 'cmdline')
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}

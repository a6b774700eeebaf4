import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { headScript } from './chain.ts'

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessRef {
  pid: number
  /** When it began: boot id and clock ticks on Linux, the text of `ps` elsewhere. */
  start: string
}

export interface ProcessRow extends ProcessRef {
  ppid: number
  session: number
}

const linux = process.platform === 'linux'
const run = promisify(execFile)
let bootId: string | undefined

/** Every process that lives now; those that are only waiting to be buried are left out. */
export async function processTable(): Promise<ProcessRow[]> {
  if (!linux) return await psTable()
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => readRow(Number(entry)))
    .filter((row) => row !== undefined)
}

/** The process as it is now, or `undefined` when there is none. Throws when the machine does not say. */
export async function findProcess(pid: number): Promise<ProcessRow | undefined> {
  return linux ? readRow(pid) : (await psTable(pid))[0]
}

export async function isAlive(ref: ProcessRef): Promise<boolean> {
  return (await findProcess(ref.pid))?.start === ref.start
}

/** Sends a signal if it is still the same process; the moment between look and signal is too short to reuse a pid. */
export async function signalProcess(ref: ProcessRef, signal: NodeJS.Signals): Promise<void> {
  if (!(await isAlive(ref))) return
  try {
    process.kill(ref.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Everything below `root`, nearest first; `root` itself is not among it. */
export function descendants(table: ProcessRow[], root: number): ProcessRow[] {
  const found: ProcessRow[] = []
  let parents = new Set([root])
  while (parents.size > 0) {
    const children = table.filter((row) => parents.has(row.ppid))
    found.push(...children)
    parents = new Set(children.map((row) => row.pid))
  }
  return found
}

/**
 * Supervisors past the lock whose command line carries `marker`. Those that are still at the lock (another creator,
 * about to be refused) run nothing and do not count.
 */
export function markedProcesses(table: ProcessRow[], marker: string): ProcessRow[] {
  return supervisors(
    table,
    (words) => words.includes(marker) && words[0] !== 'flock' && words[2] !== headScript,
  )
}

/**
 * Supervisors whose command line, read once, `isOurs`: one that is becoming the next of its chain has none for a moment,
 * and read twice it would look like one past the lock. A process inside a sandbox may write any text there,
 * so only our own pid namespace and the first process of one directly below count; a sandbox can make neither.
 */
export function supervisors(
  table: ProcessRow[],
  isOurs: (words: readonly string[]) => boolean,
): ProcessRow[] {
  if (!linux) return []
  return table.filter(({ pid }) => {
    if (!isOurs(wordsOf(pid))) return false
    const numbers = namespacePids(pid)
    return numbers.length === 1 || (numbers.length > 1 && numbers.at(-1) === 1)
  })
}

const wordsOf = (pid: number) => readProc(pid, 'cmdline')?.split('\0') ?? []

/** True for the first process of a pid namespace below ours. */
export function isNamespaceInit(pid: number): boolean {
  const numbers = namespacePids(pid)
  return numbers.length > 1 && numbers.at(-1) === 1
}

function namespacePids(pid: number): number[] {
  const line = readProc(pid, 'status')?.match(/^NSpid:\s*(.*)$/m)?.[1]
  return line === undefined ? [] : line.trim().split(/\s+/).map(Number)
}

function readRow(pid: number): ProcessRow | undefined {
  const text = readProc(pid, 'stat')
  if (text === undefined) return undefined
  // The name in parentheses may hold anything, also parentheses and spaces: fields count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return { pid, ppid: Number(fields[1]), session: Number(fields[3]), start: `${bootId}:${fields[19]}` }
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return undefined
    throw error
  }
}

async function psTable(pid?: number): Promise<ProcessRow[]> {
  const which = pid === undefined ? ['-ax'] : ['-p', String(pid)]
  const { stdout } = await run('ps', [...which, '-o', 'pid=,ppid=,stat=,lstart=']).catch((error: unknown) => {
    // `ps -p` of a process that is not there says so by its exit status alone.
    if (pid !== undefined && (error as { code?: unknown }).code === 1) return { stdout: '' }
    throw error
  })
  return stdout
    .split('\n')
    .map((line) => line.trim().match(/^(\d+)\s+(\d+)\s+(\S+)\s+(.+)$/))
    .filter((match) => match !== null && !match[3]?.startsWith('Z'))
    .map((match) => ({
      pid: Number(match?.[1]),
      ppid: Number(match?.[2]),
      session: -1,
      start: match?.[4] ?? '',
    }))
}

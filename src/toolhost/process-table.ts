import { readdirSync, readFileSync } from 'node:fs'

/** One process as the kernel shows it now. */
export interface ProcessFacts {
  pid: number
  parent: number
  group: number
  session: number
  /** When it started, in the kernel's ticks: with the pid it names a process for good. */
  started: number
  /** Resident memory in bytes. */
  resident: number
}

const pageBytes = 4096

/**
 * Every process that can be seen, without zombies (they hold nothing and only wait to be reaped). Undefined
 * where there is no `/proc` (macOS): the caller must then make do with signals.
 */
export function listProcesses(): ProcessFacts[] | undefined {
  let names: string[]
  try {
    names = readdirSync('/proc')
  } catch {
    return undefined
  }
  const found: ProcessFacts[] = []
  for (const name of names) {
    if (!/^[1-9]\d*$/.test(name)) continue
    const facts = readStat(Number(name))
    if (facts !== undefined) found.push(facts)
  }
  // Without the process that asks, what was read is not a process table.
  return found.length === 0 ? undefined : found
}

function readStat(pid: number): ProcessFacts | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the program's name in brackets and may hold anything, brackets and spaces too.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const [state] = fields
    if (state === 'Z' || state === 'X') return undefined
    const number = (index: number) => Number(fields[index])
    return {
      pid,
      parent: number(1),
      group: number(2),
      session: number(3),
      started: number(19),
      resident: number(21) * pageBytes,
    }
  } catch {
    return undefined // gone since the folder was read
  }
}

/** Whether the environment a process was started with holds `entry` (`NAME=value`); false when it may not be read. */
export function startedWith(pid: number, entry: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(entry)
  } catch {
    return false
  }
}

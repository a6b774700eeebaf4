import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError, randomText } from '../core/index.ts'
import { listProcesses, type ProcessFacts, startedWith } from './process-table.ts'

/** Every process of a source carries this in its environment, so that one that left the group is found as well. */
const marker = 'TOOLCRIB_SOURCE_RUN'
const killLimitMs = 3_000

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  /** Set when the program could not be started at all. */
  error: Error | null
}

/** A program in a process group of its own, with everything that it has started since. */
export interface ProcessGroup {
  /** Undefined when the program could not be started. */
  readonly pid: number | undefined
  readonly stdin: Writable
  readonly stdout: Readable
  readonly stderr: Readable
  /** Settles when the first process has ended; others of the group may still run. Never rejects. */
  readonly exited: Promise<Exit>
  /** The members that are alive now, whether or not they are still in the kernel's process group. */
  members(table?: ProcessFacts[]): number[]
  /**
   * TERM to every member, KILL after `termGraceMs`, again until none is left. True when the process table proved
   * that none is; false when some could not be ended within three seconds of the first KILL.
   */
  end(termGraceMs: number): Promise<boolean>
}

/**
 * Starts a program; one that cannot be started shows in `exited`. Throws `source_failed` only for what no program
 * can be given, such as a zero byte in an argument.
 */
export function startGroup(options: {
  command: string
  args: string[]
  environment: Record<string, string>
  folder: string
}): ProcessGroup {
  const entry = `${marker}=${randomText(20)}`
  const child = spawnDetached(options, entry)
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => {
      if (child.pid === undefined) resolve({ code: null, signal: null, error })
    })
    child.once('exit', (code, signal) => resolve({ code, signal, error: null }))
  })
  const { pid } = child
  const seen = new Map<number, number>()

  function members(table = listProcesses()): number[] {
    if (pid === undefined) return []
    if (table === undefined) return groupAnswers(pid) ? [pid] : []
    const found = new Set<number>()
    for (const one of table) {
      if (one.pid === process.pid) continue
      if (one.group === pid || one.session === pid || seen.get(one.pid) === one.started) found.add(one.pid)
      else if (startedWith(one.pid, entry)) found.add(one.pid)
    }
    // A child that cleared its environment and left the session is still a child while its parent lives.
    for (let size = -1; size !== found.size; ) {
      size = found.size
      for (const one of table) if (found.has(one.parent)) found.add(one.pid)
    }
    // Once seen it stays a member: its parent may be gone at the next look, and with it the last trace.
    for (const one of table) if (found.has(one.pid)) seen.set(one.pid, one.started)
    return [...found]
  }

  async function end(termGraceMs: number): Promise<boolean> {
    if (await signalUntilEmpty('SIGTERM', termGraceMs)) return true
    return signalUntilEmpty('SIGKILL', killLimitMs)
  }

  async function signalUntilEmpty(signal: 'SIGTERM' | 'SIGKILL', limitMs: number): Promise<boolean> {
    const until = Date.now() + limitMs
    const told = new Set<number>()
    let pause = 2
    for (;;) {
      const alive = members()
      if (alive.length === 0) return true
      for (const one of alive) {
        // TERM once each; KILL as often as it takes, since a group that forks can outrun one round.
        if (signal === 'SIGTERM' && told.has(one)) continue
        told.add(one)
        send(one, signal)
      }
      if (Date.now() >= until) return false
      await sleep(Math.min(pause, Math.max(1, until - Date.now())))
      pause = Math.min(pause * 2, 40)
    }
  }

  function send(target: number, signal: NodeJS.Signals): void {
    if (target === pid) trySend(-target, signal)
    trySend(target, signal)
  }

  return { pid, stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, exited, members, end }
}

function spawnDetached(
  options: Parameters<typeof startGroup>[0],
  entry: string,
): ChildProcessByStdio<Writable, Readable, Readable> {
  try {
    return spawn(options.command, options.args, {
      cwd: options.folder,
      env: { ...options.environment, [marker]: entry.slice(marker.length + 1) },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
  } catch (error) {
    throw new AppError(
      'source_failed',
      'the source has a command, argument or environment entry that no program can be started with',
      { cause: error },
    )
  }
}

function trySend(target: number, signal: NodeJS.Signals): void {
  try {
    process.kill(target, signal)
  } catch {
    // Gone already, or another user's: the next look at the table tells.
  }
}

function groupAnswers(pid: number): boolean {
  try {
    process.kill(-pid, 0)
    return true
  } catch {
    return false
  }
}

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCapture } from './capture.ts'

export interface CommandResult {
  code: number | null
  signal: string | null
  timedOut: boolean
  stdout: string
  stderr: string
}

/** Process groups of the commands that run now. */
const running = new Set<number>()
const graceMs = 200
/** What the shell's children left in the pipes; a program in the background may hold them open for ever. */
const pipesMs = 100

/**
 * Runs a shell command in a process group of its own. At the time limit or when the signal aborts the whole group is
 * ended, TERM then KILL. Otherwise what it started in the background goes on after it, as in any shell.
 */
export async function runCommand(options: {
  command: string
  folder: string
  timeoutMs: number
  signal: AbortSignal
  /** Called with the newest line of output, at most four times a second. */
  progressed: (bytes: number, line: string) => void
}): Promise<CommandResult> {
  const child = spawn('/bin/sh', ['-c', options.command], {
    cwd: options.folder,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { pid } = child
  const exit = once(child, 'exit') as Promise<[number | null, string | null]>
  const stdout = createCapture()
  const stderr = createCapture()
  const tell = everyQuarter((line: string) => options.progressed(stdout.bytes + stderr.bytes, line))
  for (const [stream, capture] of [
    [child.stdout, stdout],
    [child.stderr, stderr],
  ] as const)
    stream.on('data', (chunk: Buffer) => {
      capture.add(chunk)
      const line = lastLine(chunk)
      if (line !== '') tell(line)
    })
  let timedOut = false
  const kill = () => {
    if (pid !== undefined) void endGroup(pid)
  }
  const timer = setTimeout(() => {
    timedOut = true
    kill()
  }, options.timeoutMs)
  options.signal.addEventListener('abort', kill, { once: true })
  if (options.signal.aborted) kill()
  if (pid !== undefined) running.add(pid)
  try {
    const closed = once(child, 'close')
    const [code, signal] = await exit
    await Promise.race([closed, sleep(pipesMs)])
    return { code, signal, timedOut, stdout: stdout.text(), stderr: stderr.text() }
  } finally {
    clearTimeout(timer)
    options.signal.removeEventListener('abort', kill)
    child.stdout.destroy()
    child.stderr.destroy()
    if (pid !== undefined) running.delete(pid)
  }
}

/** Ends every command at once; for when this program itself is told to end. */
export function killCommands(): void {
  for (const pid of running) signalGroup(pid, 'SIGKILL')
}

async function endGroup(pid: number): Promise<void> {
  signalGroup(pid, 'SIGTERM')
  await sleep(graceMs)
  signalGroup(pid, 'SIGKILL')
}

function signalGroup(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // Nobody of the group is left.
  }
}

function lastLine(chunk: Buffer): string {
  const lines = chunk.subarray(-1_000).toString('utf8').trimEnd().split('\n')
  return (lines.at(-1) ?? '').trim().slice(0, 200)
}

function everyQuarter(tell: (line: string) => void): (line: string) => void {
  let last = 0
  return (line) => {
    const now = Date.now()
    if (now - last < 250) return
    last = now
    tell(line)
  }
}

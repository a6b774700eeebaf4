import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { AppError } from '../core/index.ts'
import type { LogLines } from './plain-log.ts'

export interface EgressProcess {
  readonly pid: number
  /** Settles when the process is gone, however that came. */
  readonly ended: Promise<unknown>
  /** Ends it at once; what it had not yet written down is lost. */
  kill(): void
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts `toolcrib egress` as a process of its own (only it can open credentials) and returns when it says that it
 * listens. It ends when its standard input does, so it never outlives this process.
 */
export async function startEgressProcess(options: {
  entry: string
  environment: Record<string, string | undefined>
  /** Takes its log, a line at a time. */
  lines: LogLines
}): Promise<EgressProcess> {
  const child = spawn(process.execPath, [options.entry, 'egress', '--until-stdin-ends'], {
    // A group of its own: Ctrl-C at a terminal must not end it before the gateway is done.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: options.environment,
  })
  createInterface({ input: child.stderr }).on('line', (line) => options.lines.write(line))
  // Not merely its exit: by then its last words may still be on their way.
  const ended = once(child, 'close')
  const ready = (async () => {
    for await (const line of createInterface({ input: child.stdout })) if (line === 'ready') return true
    return false
  })()
  if (!(await ready)) {
    await ended
    throw new AppError('unavailable', 'the egress proxy did not start; its reason stands in the log above')
  }
  return {
    pid: child.pid ?? 0,
    ended,
    kill: () => void child.kill('SIGKILL'),
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      const late = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await ended
      clearTimeout(late)
    },
  }
}

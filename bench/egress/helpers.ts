import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { makeAuthority, signLeaf } from './certificates.ts'
import type { Jobs } from './driver.ts'
import { freshHosts, host } from './names.ts'
import type { Seen, UpstreamPorts } from './upstream.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export interface Upstream extends AsyncDisposable {
  ports: UpstreamPorts
  ca: string
  /** What came to the slow ports since the last time. */
  take(): Promise<Seen[]>
}

export async function startUpstream(): Promise<Upstream> {
  const ca = await makeAuthority('upstream')
  const leaf = await signLeaf(ca, [...Object.values(host), ...freshHosts, '127.0.0.1'])
  const child = fork(here('upstream.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const ask = async (message: object | string): Promise<unknown> => {
    const answer = once(child, 'message')
    child.send(message)
    return (await answer)[0]
  }
  return {
    ports: (await ask({ leaf })) as UpstreamPorts,
    ca: ca.certificatePem,
    take: async () => (await ask('take')) as Seen[],
    [Symbol.asyncDispose]: async () => await end(child),
  }
}

export interface Driver extends AsyncDisposable {
  do<Job extends keyof Jobs>(
    job: Job,
    ...given: Parameters<Jobs[Job]>
  ): Promise<Awaited<ReturnType<Jobs[Job]>>>
}

/** The driver; a job that takes longer than 100 s fails, and the driver with it. */
export function startDriver(): Driver {
  const child = fork(here('driver.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  return {
    async do(job, ...given) {
      const answer = once(child, 'message', { signal: AbortSignal.timeout(100_000) })
      child.send({ job, given })
      const [{ result, error }] = (await answer) as [{ result: never; error?: string }]
      if (error !== undefined) throw new Error(`${job}: ${error}`)
      return result
    },
    [Symbol.asyncDispose]: async () => await end(child),
  }
}

/** Ends a process of this run, whatever it does. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

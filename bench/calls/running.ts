import type { ChildProcess } from 'node:child_process'
import { createClient, type Target } from './client.ts'

/** One way to serve the echo source, started anew for every round. */
export interface Running {
  target: Target
  /** Roots of its process tree, now. */
  pids(): number[]
  stop(): Promise<void>
}

/** Waits until a first call is answered rightly, at most 60 s. */
export async function answers(target: Target, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    const client = createClient(target)
    try {
      await client.open()
      await client.echo('first')
      return
    } catch (error) {
      if (child.exitCode !== null)
        throw new Error(`contestant ended with ${child.exitCode}`, { cause: error })
      await new Promise((done) => setTimeout(done, 200))
    } finally {
      client.close()
    }
  }
  throw new Error('contestant did not answer within 60 s')
}

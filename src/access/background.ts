import type { Log } from '../core/index.ts'

/** Work that nobody waits for but somebody owns: failures are logged, and disposing waits for the rest. */
export interface Background {
  start(what: string, work: () => Promise<void>): void
  [Symbol.asyncDispose](): Promise<void>
}

export function createBackground(log: Log): Background {
  const running = new Set<Promise<void>>()
  return {
    start(what, work) {
      const task = work()
        .catch((err: unknown) => log.warn({ err, what }, 'background write failed'))
        .finally(() => running.delete(task))
      running.add(task)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(running)
    },
  }
}

import { AppError } from '../core/index.ts'

export interface Gate {
  /** Runs `work` when fewer than the allowed number run; first come, first served. */
  run<Result>(work: () => Promise<Result>): Promise<Result>
}

/**
 * Lets `running` pieces of work run at once and `waiting` more wait. argon2 is made to be expensive: without
 * this, a crowd at the door would take every core and every thread of the pool that DNS and files need too.
 */
export function createGate(limits: { running: number; waiting: number }): Gate {
  let running = 0
  const queue: (() => void)[] = []
  return {
    async run(work) {
      if (running >= limits.running) {
        if (queue.length >= limits.waiting) {
          throw new AppError(
            'unavailable',
            'Too many tokens are being checked right now. Try again in 5 seconds.',
          )
        }
        await new Promise<void>((resolve) => queue.push(resolve))
      } else running++
      try {
        return await work()
      } finally {
        // The place is handed over, not given back: nobody can slip in between.
        const next = queue.shift()
        if (next === undefined) running--
        else next()
      }
    },
  }
}

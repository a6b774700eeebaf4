import { AppError } from '../core/index.ts'

/** Who may run now: `parallel` at a time, `queued` more waiting in order of arrival. */
export interface Admission {
  /**
   * Settles with a function that gives the place back, to be called once. Rejects with `runner_busy` when the queue
   * is full, and with the signal's reason when it aborts first; then no place is held.
   */
  enter(signal: AbortSignal): Promise<() => void>
  readonly running: number
  readonly queued: number
}

export function createAdmission(limits: { parallel: number; queued: number }): Admission {
  const queue = new Set<() => void>()
  let running = 0

  function leave(): void {
    running -= 1
    const [next] = queue
    if (next === undefined) return
    queue.delete(next)
    next()
  }

  function take(): () => void {
    running += 1
    let held = true
    return () => {
      if (!held) return
      held = false
      leave()
    }
  }

  async function wait(signal: AbortSignal): Promise<() => void> {
    const turn = Promise.withResolvers<() => void>()
    const next = () => turn.resolve(take())
    const giveUp = () => {
      queue.delete(next)
      turn.reject(signal.reason)
    }
    queue.add(next)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      return await turn.promise
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  return {
    async enter(signal) {
      signal.throwIfAborted()
      if (running < limits.parallel) return take()
      if (queue.size < limits.queued) return wait(signal)
      throw new AppError(
        'runner_busy',
        `${running} calls run and ${queue.size} wait in this sandbox, which is its limit; try again when one has ended`,
      )
    },
    get running() {
      return running
    },
    get queued() {
      return queue.size
    },
  }
}

import { setTimeout as sleep } from 'node:timers/promises'

/** How soon a look that failed is made again. */
const againMs = 500

export interface Looking {
  nudge(): void
  /** Settles when the look that is under way has been made. */
  stop(): Promise<void>
}

/**
 * Makes a look at once after `nudge()`, at the latest `everyMs` after the last one, and soon again after one that
 * failed: a notice may be lost, and what it told of is seen all the same.
 */
export function keepLooking(options: {
  /** Whether it could be made; must not reject. */
  look: () => Promise<boolean>
  everyMs: number
}): Looking {
  const stopped = new AbortController()
  let wake = new AbortController()
  const running = (async () => {
    let waitMs = options.everyMs
    while (!stopped.signal.aborted) {
      await sleep(waitMs, undefined, {
        signal: AbortSignal.any([stopped.signal, wake.signal]),
        ref: false,
      }).catch(() => undefined)
      if (stopped.signal.aborted) return
      wake = new AbortController()
      waitMs = (await options.look()) ? options.everyMs : againMs
    }
  })()
  return {
    nudge: () => wake.abort(),
    async stop() {
      stopped.abort()
      await running
    },
  }
}

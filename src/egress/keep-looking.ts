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
  let isStopped = false
  let wake = Promise.withResolvers<void>()
  const running = (async () => {
    let waitMs = options.everyMs
    for (;;) {
      const timer = setTimeout(() => wake.resolve(), waitMs).unref()
      await wake.promise
      clearTimeout(timer)
      if (isStopped) return
      wake = Promise.withResolvers()
      waitMs = (await options.look()) ? options.everyMs : againMs
    }
  })()
  return {
    nudge: () => wake.resolve(),
    async stop() {
      isStopped = true
      wake.resolve()
      await running
    },
  }
}

/** So often connections are looked at for what nobody tells of: that takes too long, or has broken. By Node, too. */
export const lookEveryMs = 1_000

/** Looks at one thing, at a time of `performance.now()`; whether that was the last look at it. It must not throw. */
type Look = (now: number) => boolean

/**
 * Looks at whatever is watched, once a second. One timer for all: each with its own is a fortieth of the time that a new
 * tunnel takes, and next to none of them ever finds anything.
 */
export interface Rounds {
  /** Until a look was the last, or what is returned is called. */
  watch(look: Look): () => void
  close(): void
}

export function createRounds(): Rounds {
  const looks = new Set<Look>()
  const timer = setInterval(() => {
    const now = performance.now()
    for (const look of looks) if (look(now)) looks.delete(look)
  }, lookEveryMs).unref()
  return {
    watch(look) {
      looks.add(look)
      return () => void looks.delete(look)
    },
    close: () => clearInterval(timer),
  }
}

/** So often connections are looked at for what takes too long, whatever it is, also by Node. */
export const lookEveryMs = 1_000

/** What may only stay so long. */
export interface Stay {
  /** Until when, as `performance.now()` has it; infinite while it may stay. */
  until: number
  /** It stayed longer; told once. */
  over(): void
}

/**
 * Tells what stays too long, up to a second late. One timer for all: each with its own is a fortieth of the time that
 * a new tunnel takes, and next to none of them ever runs out.
 */
export interface OverstayWatch {
  /** Watches until what is returned is called. */
  watch(stay: Stay): () => void
  close(): void
}

export function createOverstayWatch(): OverstayWatch {
  const stays = new Set<Stay>()
  const timer = setInterval(() => {
    const now = performance.now()
    for (const stay of stays) {
      if (stay.until > now) continue
      stays.delete(stay)
      stay.over()
    }
  }, lookEveryMs).unref()
  return {
    watch(stay) {
      stays.add(stay)
      return () => void stays.delete(stay)
    },
    close: () => clearInterval(timer),
  }
}

/** How old something is, in milliseconds: the difference of two of these. */
export type Elapsed = () => number

/** By less the two clocks part because one is set right a little at a time. */
const leastSleepMs = 50

/**
 * `performance.now()` stands still while the machine sleeps or is suspended, and what was looked at before would seem
 * new when it wakes. This clock has gone on by what the `wall` clock went on meanwhile. `slept` is told how long that
 * was, at the first look at this clock after it. A wall clock that is set forward is taken for a sleep, which costs
 * another look at everything; one that is set back is no matter.
 */
export function createElapsed(options: {
  /** Milliseconds since 1970. */
  wall: () => number
  slept: (ms: number) => void
  awake?: () => number
}): Elapsed {
  const { wall, slept, awake = () => performance.now() } = options
  let offset = wall() - awake()
  let asleep = 0
  return () => {
    // In this order a sleep between the two is seen.
    const now = awake()
    const apart = wall() - now - offset
    if (Math.abs(apart) > leastSleepMs) {
      offset += apart
      if (apart > 0) {
        asleep += apart
        slept(apart)
      }
    }
    return now + asleep
  }
}

/** The time, handed in so that a test can hold it still. Database rows use the database's own `now()`. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
}

export const systemClock: Clock = { now: () => Date.now() }

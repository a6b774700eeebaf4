/** Holds back a source that ends again and again before it has answered anything. Times are in ms. */
export interface Respawn {
  /** The source ended; `useful` when it had answered a call in that life. */
  ended(now: number, useful: boolean): void
  /** How long it must still not be started; 0 when it may be now. */
  waitMs(now: number): number
  /** Lives in a row that ended without an answer. */
  readonly failures: number
}

const free = 3
const longestMs = 30_000

/** The first three failed lives cost nothing; each further one doubles the pause, from one second to thirty. */
export function createRespawn(): Respawn {
  let failures = 0
  let notBefore = 0
  return {
    ended(now, useful) {
      failures = useful ? 0 : failures + 1
      notBefore = failures < free ? 0 : now + Math.min(longestMs, 1_000 * 2 ** (failures - free))
    },
    waitMs: (now) => Math.max(0, notBefore - now),
    get failures() {
      return failures
    },
  }
}

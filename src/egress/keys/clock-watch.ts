import type { Log } from '../../core/index.ts'

/** From where on a clock is wrong for somebody: servers that check signatures allow for less than a minute at best. */
const clockOffMs = 5_000
/** An answer that took longer says too little of when the database looked at its clock. */
const doubtMs = 2_000

export interface ClockWatch {
  /** By how much this machine's clock was ahead of the database's when it was last known, in milliseconds. */
  readonly aheadMs: number | undefined
  /** Asks the database for its time, and tells in the log where the two begin or cease to differ. Rejects as `ask` does. */
  compare(ask: () => Promise<number>): Promise<void>
}

/**
 * Certificates, signatures and the end of warn mode go by the clock of the proxy's machine, and who finds it wrong, a
 * program in a sandbox or an upstream, says something else. `wall` is in milliseconds since 1970.
 */
export function createClockWatch(options: {
  wall: () => number
  awake?: () => number
  log: Log
}): ClockWatch {
  const { wall, awake = () => performance.now(), log } = options
  let aheadMs: number | undefined
  /** By how much it was said to be ahead; 0 when it was not said to be wrong. */
  let saidMs = 0
  return {
    get aheadMs() {
      return aheadMs
    },
    async compare(ask) {
      const since = awake()
      const there = await ask()
      const tookMs = awake() - since
      if (tookMs > doubtMs) return
      aheadMs = Math.round(wall() - tookMs / 2 - there)
      const aheadSeconds = Math.round(aheadMs / 1_000)
      if (Math.abs(aheadMs) < clockOffMs) {
        if (saidMs !== 0)
          log.info({ aheadSeconds }, 'the clock of this machine is that of the database again')
        saidMs = 0
      } else if (saidMs === 0 || Math.abs(aheadMs - saidMs) >= clockOffMs) {
        log.warn(
          { aheadSeconds },
          'the clock of this machine is not that of the database: let NTP set both; certificates for sandboxes and signatures are made by it, and those of upstreams judged',
        )
        saidMs = aheadMs
      }
    },
  }
}

import type { Log } from '../../core/index.ts'

/**
 * A listener for what comes from outside: whatever it throws is logged and ends what `end` ends, one tunnel or one
 * connection. Thrown into an event of Node's it would end the process, and with it everybody's.
 */
export function contained<Heard extends unknown[]>(
  log: Log,
  listener: (...heard: Heard) => void,
  end: (...heard: Heard) => void,
): (...heard: Heard) => void {
  return (...heard) => {
    try {
      listener(...heard)
    } catch (err) {
      log.error({ err }, 'egress connection failed')
      end(...heard)
    }
  }
}

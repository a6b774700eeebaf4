import { type Logger, LogLevel } from '@slack/bolt'
import type { Log } from '../core/index.ts'

/**
 * Bolt's and the Web API client's log, in ours. Debug and info are dropped whatever the level: at debug the
 * client prints what Slack answered, which is the message with the token in it.
 */
export function boltLog(log: Log): Logger {
  const brief = (parts: unknown[]) =>
    parts
      .map((part) => (part instanceof Error ? part.message : typeof part === 'string' ? part : ''))
      .join(' ')
      .replace(/\b(tcb_|xox[a-z]-|xapp-)\S+/g, '[secret]')
      .slice(0, 300)
  return {
    debug() {},
    info() {},
    warn: (...parts: unknown[]) => log.warn({ detail: brief(parts) }, 'slack client warned'),
    error: (...parts: unknown[]) => log.error({ detail: brief(parts) }, 'slack client failed'),
    setLevel() {},
    setName() {},
    getLevel: () => LogLevel.WARN,
  }
}

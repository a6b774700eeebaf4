import type { Log } from './log.ts'

const firstReminderMs = 10_000
const longestReminderMs = 10 * 60_000
/** What does not fail for so long, nor work, is not tried any more. */
const forgottenAfterMs = 2 * longestReminderMs
/** A reminder names so many of those that fail, and counts the others. */
const mostNamed = 20

/** Trouble that comes again and again, such as a database that is away, told as one story. */
export interface Trouble {
  /** `name` says which of the things that share this story failed. */
  happened: (name: string, err: unknown) => void
  /** That thing works, as it mostly does. */
  over: (name: string) => void
}

/**
 * A cause is logged in full when it is first seen; while it lasts, a line without it follows after 10 s, 20 s and
 * so on, every ten minutes at last; and one says when everything works again. Failures are counted in between.
 */
export function createTrouble(
  log: Log,
  say: { fails: string; lasts: string; over: string },
  now: () => number = () => performance.now(),
): Trouble {
  /** When each failed last, the longest ago first. */
  const failing = new Map<string, number>()
  const causes = new Set<string>()
  let since = 0
  let failures = 0
  let reminderMs = 0
  let remindAt = 0
  const forget = () => {
    for (const [name, at] of failing) {
      if (now() - at <= forgottenAfterMs) return
      failing.delete(name)
    }
  }
  const named = () => {
    const names = [...failing.keys()]
    const others = names.length > mostNamed ? { others: names.length - mostNamed } : {}
    return { what: names.slice(0, mostNamed), ...others }
  }
  const sofar = () => ({ failures, seconds: Math.round((now() - since) / 1_000) })

  return {
    happened(name, err) {
      forget()
      if (failing.size === 0) {
        causes.clear()
        since = now()
        failures = 0
        reminderMs = firstReminderMs
        remindAt = since + reminderMs
      }
      failing.delete(name)
      failing.set(name, now())
      failures++
      const cause = String(err)
      if (!causes.has(cause)) {
        causes.add(cause)
        log.warn({ what: name, err }, say.fails)
      } else if (now() >= remindAt) {
        reminderMs = Math.min(reminderMs * 2, longestReminderMs)
        remindAt = now() + reminderMs
        log.warn({ ...named(), reason: cause, ...sofar() }, say.lasts)
      }
    },
    over(name) {
      if (failing.size === 0) return
      forget()
      if (failing.delete(name) && failing.size === 0) log.info(sofar(), say.over)
    },
  }
}

/** Who is at a limit: one person, or everybody together. */
export type Full = 'principal' | 'total'

/** Counts what is in use, by principal and in all. */
export interface Limit {
  /** A place, given back by calling it once or more; or who is at the limit. */
  take(principalId: string): (() => void) | Full
}

/** What a refusal calls that: `own` is the person's reason, everybody's is the same for all limits. */
export function limitReason<Own extends string>(full: Full, own: Own): Own | 'proxy_overloaded' {
  return full === 'principal' ? own : 'proxy_overloaded'
}

export function createLimit(options: { perPrincipal: number; total: number }): Limit {
  const used = new Map<string, number>()
  let total = 0
  return {
    take(principalId) {
      const mine = used.get(principalId) ?? 0
      if (mine >= options.perPrincipal) return 'principal'
      if (total >= options.total) return 'total'
      used.set(principalId, mine + 1)
      total += 1
      let released = false
      return () => {
        if (released) return
        released = true
        total -= 1
        const left = (used.get(principalId) ?? 1) - 1
        if (left === 0) used.delete(principalId)
        else used.set(principalId, left)
      }
    },
  }
}

/**
 * Lets `max` through a minute and counts the rest, so that a flood becomes one number. The minutes are those of a
 * clock that nobody sets: with the wall's, a step back by an hour would have nothing let through for an hour.
 */
export function createMeter(max: number): { pass(): number | undefined } {
  let windowStart = Number.NEGATIVE_INFINITY
  let passed = 0
  let held = 0
  return {
    /** Undefined when this one is only counted; otherwise how many were since the last that passed. */
    pass() {
      const now = performance.now()
      if (now - windowStart >= 60_000) {
        windowStart = now
        passed = 0
      }
      if (passed >= max) {
        held += 1
        return undefined
      }
      passed += 1
      const suppressed = held
      held = 0
      return suppressed
    },
  }
}

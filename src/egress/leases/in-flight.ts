import { type CallId, type Log } from '../../core/index.ts'
import { recentCalls, type Store } from '../../store/index.ts'
import type { Identity } from './leases.ts'

/** Which calls were in flight when a request was made; asked afterwards, so that no request waits for it. */
export interface InFlight {
  /** Tells later which calls of this person and source run at this moment; none when they cannot be read. */
  now(identity: Identity, tell: (callIds: CallId[]) => void): void
  /** Answers who still waits, and later askers with none. */
  close(): Promise<void>
}

interface Waiting {
  at: number
  identity: Identity
  tell: (callIds: CallId[]) => void
}

/**
 * One question of all requests of `delayMs`. A call counts that had begun by the time of the request and had not
 * ended before it, by the database's clock; in doubt, which is half a round trip, it counts.
 * `lookMaxAgeMs` is how old `identity` may be: what ran longer than that was seen by the look that made it.
 */
export function createInFlight(options: {
  store: Store
  delayMs: number
  lookMaxAgeMs: number
  log: Log
}): InFlight {
  let waiting: Waiting[] = []
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const ask = async () => {
    timer = undefined
    const asking = waiting
    waiting = []
    try {
      const sent = performance.now()
      const oldest = asking[0]?.at ?? sent
      // Twice, for a look that was a while under way.
      const windowMs = sent - oldest + 2 * options.lookMaxAgeMs
      const { now, calls } = await recentCalls(options.store.pool, scopes(asking), windowMs)
      const doubtMs = (performance.now() - sent) / 2
      const offset = now - (sent + doubtMs)
      for (const { at, identity, tell } of asking) {
        const then = at + offset
        const running = calls.filter(
          (call) =>
            call.principalId === identity.principalId &&
            call.sourceId === identity.sourceId &&
            call.startedAt <= then + doubtMs &&
            (call.finishedAt ?? Number.POSITIVE_INFINITY) >= then - doubtMs,
        )
        tell(running.map(({ id }) => id))
      }
    } catch (err) {
      options.log.warn({ err, requests: asking.length }, 'requests could not be joined to their calls')
      for (const { tell } of asking) tell([])
    }
  }

  return {
    now(identity, tell) {
      if (closed) return tell([])
      waiting.push({ at: performance.now(), identity, tell })
      timer ??= setTimeout(() => void ask(), options.delayMs)
    },
    async close() {
      closed = true
      clearTimeout(timer)
      if (waiting.length > 0) await ask()
    },
  }
}

/** Each person's use of each source once, with every call that some look saw. */
function scopes(asking: readonly Waiting[]) {
  const byIdentity = new Map<
    string,
    { principalId: Identity['principalId']; sourceId: string; seen: Set<CallId> }
  >()
  for (const { identity } of asking) {
    const { principalId, sourceId, callIds } = identity
    const key = `${principalId} ${sourceId}`
    let scope = byIdentity.get(key)
    if (scope === undefined) {
      scope = { principalId, sourceId, seen: new Set() }
      byIdentity.set(key, scope)
    }
    for (const id of callIds) scope.seen.add(id)
  }
  return [...byIdentity.values()].map(({ seen, ...scope }) => ({ ...scope, seen: [...seen] }))
}

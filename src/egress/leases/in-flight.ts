import type { CallId } from '../../core/index.ts'
import { type Connection, recentCalls } from '../../store/index.ts'
import type { Identity } from './leases.ts'

/** A request that was made at a moment of this process' clock (`performance.now()`). */
export interface Made {
  at: number
  identity: Identity
}

/** Which calls were in flight when a request was made; asked afterwards, so that no request waits for it. */
export interface InFlight {
  /**
   * For each request the calls of its person and source that ran at its moment, asked on `connection`. Rejects when
   * they cannot be read.
   */
  at(connection: Connection, requests: readonly Made[]): Promise<CallId[][]>
}

/**
 * One question for many requests. A call counts that had begun by the time of the request and had not ended before it,
 * by the database's clock; in doubt, which is half a round trip, it counts. `lookMaxAgeMs` is how old an `identity` may
 * be: what ran longer than that was seen by the look that made it.
 */
export function createInFlight(options: { lookMaxAgeMs: number }): InFlight {
  return {
    async at(connection, requests) {
      const sent = performance.now()
      const oldest = requests[0]?.at ?? sent
      // Twice, for a look that was a while under way.
      const windowMs = sent - oldest + 2 * options.lookMaxAgeMs
      const { now, calls } = await recentCalls(connection, scopes(requests), windowMs)
      const doubtMs = (performance.now() - sent) / 2
      const offset = now - (sent + doubtMs)
      return requests.map(({ at, identity }) => {
        const then = at + offset
        return calls
          .filter(
            (call) =>
              call.principalId === identity.principalId &&
              call.sourceId === identity.sourceId &&
              call.startedAt <= then + doubtMs &&
              (call.finishedAt ?? Number.POSITIVE_INFINITY) >= then - doubtMs,
          )
          .map(({ id }) => id)
      })
    },
  }
}

/** Each person's use of each source once, with every call that some look saw. */
function scopes(requests: readonly Made[]) {
  const byIdentity = new Map<
    string,
    { principalId: Identity['principalId']; sourceId: string; seen: Set<CallId> }
  >()
  for (const { identity } of requests) {
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

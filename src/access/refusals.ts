import type { AuditEvent, Clock, Log } from '../core/index.ts'
import { appendEvents, type Store } from '../store/index.ts'
import { limitedAddress } from './address.ts'
import { createBuckets } from './buckets.ts'

export interface Refusals {
  /** Appends the event unless this address, or everybody together, had too many lately. Never throws. */
  record(address: string, event: AuditEvent): Promise<void>
}

/** Refusals are audited, but a flood of them must not fill the disk: 10 a minute an address, 300 a minute in all. */
export function createRefusals(deps: { store: Store; log: Log; clock: Clock }): Refusals {
  const byAddress = createBuckets({ burst: 10, perMinute: 10 }, deps.clock)
  const all = createBuckets({ burst: 300, perMinute: 300 }, deps.clock)
  let dropped = 0
  let toldAt = Number.NEGATIVE_INFINITY
  return {
    async record(address, event) {
      const key = limitedAddress(address)
      if (byAddress.empty(key) || all.empty('all')) {
        dropped++
        if (deps.clock.now() - toldAt > 60_000) {
          deps.log.warn({ dropped, address, kind: event.kind }, 'refusals are too many to audit one by one')
          toldAt = deps.clock.now()
          dropped = 0
        }
        return
      }
      byAddress.take(key)
      all.take('all')
      await appendEvents(deps.store.db, [event]).catch((err: unknown) =>
        deps.log.error({ err, event }, 'a refusal could not be audited'),
      )
    },
  }
}

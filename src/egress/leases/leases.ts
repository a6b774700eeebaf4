import { LRUCache } from 'lru-cache'
import { AppError, createTrouble, type Log, sha256 } from '../../core/index.ts'
import { type LeaseFacts, liveLeases, type Store } from '../../store/index.ts'
import type { Elapsed } from '../elapsed.ts'
import { keepLooking, type Looking } from '../keep-looking.ts'

/** Who is asking: a lease that was good when last looked at, with the calls that were running then. */
export type Identity = LeaseFacts

export interface Leases {
  /**
   * The identity behind a `Proxy-Authorization`, from a look at most `maxAgeMs` old; undefined when there is none
   * or it is not good. Throws `unavailable` when the database cannot be asked.
   */
  identify(authorization: string | undefined): Promise<Identity | undefined>
  /** The same for a lease seen before, by the digest of its secret; at once where the last look is new enough. */
  current(secretSha256: string): Identity | Promise<Identity | undefined>
  /** A look at the database now, shared by all who ask in the same turn; with the calls running. */
  look(secretSha256: string): Promise<LeaseFacts | undefined>
  /** Forgets every look: something changed. */
  invalidate(): void
  close(): void
}

const secretForm = /^[\x21-\x7e]{16,512}$/

/** Those of `store`; while it cannot be asked, that is told in the log, once and as long as it lasts. */
export function createLeases(options: {
  store: Store
  maxAgeMs: number
  elapsed: Elapsed
  log: Log
}): Leases {
  const { elapsed, maxAgeMs } = options
  const known = new LRUCache<string, { at: number; facts: Identity }>({ max: 10_000 })
  let epoch = 0
  let waiting: Map<string, PromiseWithResolvers<LeaseFacts | undefined>> | undefined
  let closed = false
  const trouble = createTrouble(options.log, {
    fails: 'leases cannot be checked; nothing is let out',
    lasts: 'leases still cannot be checked; nothing is let out',
    over: 'leases can be checked again',
  })

  /** What was answered too long ago, as before this machine slept, is asked once more; `at` is when it was asked. */
  const read = async (digests: string[]) => {
    for (let isLast = false; ; isLast = true) {
      const at = elapsed()
      const asked = epoch
      const rows = await liveLeases(options.store.pool, digests)
      if (isLast || elapsed() - at <= maxAgeMs) return { rows, at, asked }
    }
  }

  // One statement under way at a time; who asks meanwhile shares the next one.
  const run = async () => {
    while (waiting !== undefined && !closed) {
      // Everybody who asks in this turn of the event loop comes along.
      await Promise.resolve()
      const batch = waiting
      waiting = new Map()
      try {
        const { rows, at, asked } = await read([...batch.keys()])
        trouble.over('leases')
        const found = new Map(rows.map((row) => [row.secretSha256, row]))
        for (const [digest, promise] of batch) {
          const facts = found.get(digest)
          // What was read before a notice came must not be kept after it.
          if (facts !== undefined && asked === epoch) known.set(digest, { at, facts })
          else known.delete(digest)
          promise.resolve(facts)
        }
      } catch (cause) {
        trouble.happened('leases', cause)
        const error = new AppError('unavailable', 'leases cannot be checked', { cause })
        for (const promise of batch.values()) promise.reject(error)
      }
      if (waiting.size === 0) waiting = undefined
    }
  }

  const look = (digest: string): Promise<LeaseFacts | undefined> => {
    if (closed) return Promise.reject(new AppError('unavailable', 'the proxy is closing'))
    const idle = waiting === undefined
    waiting ??= new Map()
    let asked = waiting.get(digest)
    if (asked === undefined) {
      asked = Promise.withResolvers<LeaseFacts | undefined>()
      waiting.set(digest, asked)
    }
    if (idle) void run()
    return asked.promise
  }

  const current = (digest: string): Identity | Promise<Identity | undefined> => {
    const kept = known.get(digest)
    return kept !== undefined && elapsed() - kept.at <= maxAgeMs ? kept.facts : look(digest)
  }

  return {
    async identify(authorization) {
      const presented = parseBasic(authorization)
      if (presented === undefined) return undefined
      const identity = await current(sha256(presented.lease))
      return identity?.sourceId === presented.sourceId ? identity : undefined
    },
    current,
    look,
    invalidate() {
      epoch += 1
      known.clear()
    },
    close() {
      closed = true
      const error = new AppError('unavailable', 'the proxy is closing')
      for (const promise of waiting?.values() ?? []) promise.reject(error)
    },
  }
}

/** The source id and the lease of a Basic credential; undefined for anything else. */
export function parseBasic(header: string | undefined): { sourceId: string; lease: string } | undefined {
  const match = /^basic ([A-Za-z0-9+/]{1,2048}={0,2})$/i.exec(header ?? '')
  if (match?.[1] === undefined) return undefined
  const text = Buffer.from(match[1], 'base64').toString('latin1')
  const colon = text.indexOf(':')
  const lease = text.slice(colon + 1)
  if (colon < 1 || !secretForm.test(lease)) return undefined
  return { sourceId: text.slice(0, colon), lease }
}

/**
 * Looks again at every lease in use, at once after `nudge()` and at least every `intervalMs`: this is what ends
 * live tunnels when a right is withdrawn, notice or not. A look that fails changes nothing; the leases tell of it.
 */
export function watchLeases(options: {
  leases: Leases
  inUse: () => string[]
  seen: (digest: string, facts: LeaseFacts | undefined) => void
  intervalMs: number
  log: Log
}): Looking {
  const look = async () => {
    await Promise.all(
      options.inUse().map(async (digest) => {
        const look = await options.leases.look(digest).then(
          (facts) => ({ facts }),
          () => undefined,
        )
        if (look !== undefined) options.seen(digest, look.facts)
      }),
    ).catch((err: unknown) => options.log.error({ err }, 'leases in use could not be looked after'))
    // After one that failed the next comes soon enough as it is.
    return true
  }
  return keepLooking({ look, everyMs: options.intervalMs })
}

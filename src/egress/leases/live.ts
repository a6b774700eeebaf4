import { type Log, toAppError } from '../../core/index.ts'
import type { LeaseFacts } from '../../store/index.ts'
import { type RulesAt, rulesOf } from '../decision/rules.ts'
import type { SourceRules } from '../decision/warn.ts'
import type { Identity } from './leases.ts'

/** Why something ends that nobody broke off: its right was withdrawn, or this proxy stops. */
export type EndedBy = 'revoked' | 'proxy_stopped'

/** Something under way on a lease: a tunnel or a request. */
export interface LiveEntry {
  identity: Identity
  /** Whether nothing but its source's warn mode lets it out, which ends without a newer version of the rules. */
  warned: boolean
  /** Whether the rules as they are now would still allow it. */
  allowed(known: SourceRules): boolean
  /** Ends it at once. */
  end(by: EndedBy): void
}

export interface Live {
  add(entry: LiveEntry): () => void
  digests(): string[]
  /** What a look at a lease means for what runs on it: gone ends it, newer rules and the end of warn mode apply to it. */
  seen(digest: string, facts: LeaseFacts | undefined): void
  /** Ends everything because the proxy stops, and whatever is still to come as soon as it does. */
  close(): void
  readonly size: number
}

export function createLive(options: { rulesAt: RulesAt; now: () => number; log: Log }): Live {
  const byDigest = new Map<string, Set<LiveEntry>>()
  const judged = new Map<string, number>()
  /** Those on which something may run that warn mode alone lets out. */
  const warned = new Set<string>()
  let closed = false

  const endAllOf = (digest: string, by: EndedBy) => {
    for (const entry of byDigest.get(digest) ?? []) entry.end(by)
  }

  const isOlder = (digest: string, facts: LeaseFacts) =>
    (judged.get(digest) ?? facts.catalogVersion) < facts.catalogVersion

  const judgeAgain = async (digest: string, facts: LeaseFacts) => {
    const book = await options.rulesAt(facts.catalogVersion)
    const known = rulesOf(book, facts.sourceId, options.now())
    if (known.warn && !isOlder(digest, facts)) return
    for (const entry of byDigest.get(digest) ?? []) if (!entry.allowed(known)) entry.end('revoked')
    if (!byDigest.has(digest)) return
    judged.set(digest, facts.catalogVersion)
    // What a rule let out may be let out by warn mode alone from now on.
    if (known.warn) warned.add(digest)
    else warned.delete(digest)
  }

  return {
    add(entry) {
      if (closed) setImmediate(() => entry.end('proxy_stopped'))
      const digest = entry.identity.secretSha256
      let entries = byDigest.get(digest)
      if (entries === undefined) {
        entries = new Set()
        byDigest.set(digest, entries)
      }
      // What began under older rules than were judged last is judged at the next look.
      const last = judged.get(digest)
      if (last === undefined || entry.identity.catalogVersion < last) {
        judged.set(digest, entry.identity.catalogVersion)
      }
      entries.add(entry)
      if (entry.warned) warned.add(digest)
      return () => {
        entries.delete(entry)
        if (entries.size > 0 || byDigest.get(digest) !== entries) return
        byDigest.delete(digest)
        judged.delete(digest)
        warned.delete(digest)
      }
    },
    digests: () => [...byDigest.keys()],
    seen(digest, facts) {
      if (facts === undefined) {
        if (byDigest.has(digest)) options.log.info({ tunnels: byDigest.get(digest)?.size }, 'lease withdrawn')
        endAllOf(digest, 'revoked')
      } else if (warned.has(digest) || isOlder(digest, facts)) {
        judgeAgain(digest, facts).catch((err: unknown) => {
          if (toAppError(err).code !== 'unavailable')
            options.log.error({ err }, 'what is under way could not be judged again')
        })
      }
    },
    close() {
      closed = true
      for (const digest of byDigest.keys()) endAllOf(digest, 'proxy_stopped')
    },
    get size() {
      let size = 0
      for (const entries of byDigest.values()) size += entries.size
      return size
    },
  }
}

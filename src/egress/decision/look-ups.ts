import { LRUCache } from 'lru-cache'
import { createLimit, type Full } from '../bounds/limits.ts'

export interface LookUps<Answer> {
  /** What comes of a name, at once where that is known; or who has as many look-ups under way as they may. */
  find(host: string, principalId: string): Answer | Full | Promise<Answer>
  /** Look-ups that nobody waits for any more, and that hold their places until the resolver gives up. */
  readonly overdue: number
}

/**
 * Asks once for each name, however many want it, and keeps an answer for `keptMs` from the moment it came, of at most
 * 2,000 names. A look-up cannot be called back: the system's resolver holds a thread until it gives up by itself. So
 * it counts as under way until then, though nobody waits for it longer than `timeoutMs`: whoever comes later is told
 * `late` at once. `onOverdue` is told of each that comes to this.
 */
export function createLookUps<Answer extends object>(options: {
  /** May take for ever; must not reject. */
  ask: (host: string) => Promise<Answer>
  late: Answer
  keptMs: number
  timeoutMs: number
  perPrincipal: number
  total: number
  onOverdue: (host: string) => void
}): LookUps<Answer> {
  const { keptMs, timeoutMs, late } = options
  const kept = new LRUCache<string, Answer>({ max: 2_000, ttl: keptMs })
  const underWay = new Map<string, Promise<Answer>>()
  const places = createLimit(options)

  let overdue = 0

  const ask = async (host: string, leave: () => void): Promise<Answer> => {
    const tooLong = Promise.withResolvers<Answer>()
    let isOverdue = false
    const timer = setTimeout(() => {
      isOverdue = true
      overdue += 1
      tooLong.resolve(late)
      options.onOverdue(host)
    }, timeoutMs)
    const answered = async () => {
      try {
        const answer = await options.ask(host)
        kept.set(host, answer)
        return answer
      } finally {
        clearTimeout(timer)
        if (isOverdue) overdue -= 1
        underWay.delete(host)
        leave()
      }
    }
    return await Promise.race([answered(), tooLong.promise])
  }

  return {
    find(host, principalId) {
      const known = kept.get(host) ?? underWay.get(host)
      if (known !== undefined) return known
      const place = places.take(principalId)
      if (typeof place === 'string') return place
      const answer = ask(host, place)
      underWay.set(host, answer)
      return answer
    },
    get overdue() {
      return overdue
    },
  }
}

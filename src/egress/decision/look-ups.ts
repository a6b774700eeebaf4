import { LRUCache } from 'lru-cache'
import { createLimit } from '../bounds/limits.ts'

/** What came of a name; or who has as many look-ups under way as they may. */
export type LookUps<Answer> = (host: string, principalId: string) => Promise<Answer | 'principal' | 'total'>

/**
 * Asks once for each name, however many want it, and keeps an answer for `keptMs` from the moment it came, of at most
 * 2,000 names. A look-up cannot be called back: the system's resolver holds a thread until it gives up by itself. So
 * it counts as under way until then, though nobody waits for it longer than `timeoutMs`: whoever comes later is told
 * `late` at once.
 */
export function createLookUps<Answer extends object>(options: {
  /** May take for ever; must not reject. */
  ask: (host: string) => Promise<Answer>
  late: Answer
  keptMs: number
  timeoutMs: number
  perPrincipal: number
  total: number
}): LookUps<Answer> {
  const { keptMs, timeoutMs, late } = options
  const kept = new LRUCache<string, Answer>({ max: 2_000, ttl: keptMs })
  const underWay = new Map<string, Promise<Answer>>()
  const places = createLimit(options)

  const ask = async (host: string, leave: () => void): Promise<Answer> => {
    try {
      const answer = await options.ask(host)
      kept.set(host, answer)
      return answer
    } finally {
      underWay.delete(host)
      leave()
    }
  }

  return async (host, principalId) => {
    const known = kept.get(host) ?? underWay.get(host)
    if (known !== undefined) return await known
    const place = places.take(principalId)
    if (typeof place === 'string') return place
    const answer = inTime(ask(host, place), timeoutMs, late)
    underWay.set(host, answer)
    return await answer
  }
}

async function inTime<T>(promise: Promise<T>, ms: number, late: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(late), ms)
  })
  try {
    return await Promise.race([promise, tooLong])
  } finally {
    clearTimeout(timer)
  }
}

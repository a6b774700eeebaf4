import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { LRUCache } from 'lru-cache'
import type { EgressRule } from '../../catalog/index.ts'
import { type Destination } from '../request/tuple.ts'
import { classifyAddress, normalAddress, parseRanges, pinnable, type Surroundings } from './address.ts'
import type { DenialReason } from './denial.ts'

/** Every address of a name; throws when there is none. The proxy's only way to ask DNS. */
export type Resolve = (host: string) => Promise<string[]>

export const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true, order: 'verbatim' })).map((answer) => answer.address)

export type Guarded =
  | { ok: true; addresses: string[] }
  | { ok: false; reason: Extract<DenialReason, `address_${string}` | 'name_unresolved'> }

export interface Guard {
  /** The addresses that may be dialled for this destination under this rule, in order. */
  check(destination: Destination, rule: Pick<EgressRule, 'address'>): Promise<Guarded>
}

/** An address and a port where this proxy can be reached. */
type Listening = { address: string; port: number }

/**
 * Resolves a name once and judges every answer: one address that is not public refuses them all, so that a mixed
 * answer cannot be played for the second look-up that never comes. A verdict is kept for two seconds, of at most
 * 2,000 names. `listening` is where this proxy itself can be reached, `refusedRanges` what the configuration
 * refuses besides (CIDR).
 */
export function createGuard(options: {
  resolve: Resolve
  listening: () => Listening[]
  refusedRanges: readonly string[]
  timeoutMs: number
}): Guard {
  const verdicts = new LRUCache<string, Promise<Guarded>>({ max: 2_000, ttl: 2_000 })
  const refused = parseRanges(options.refusedRanges)
  const around = (): Surroundings => ({ own: ownAddresses(options.listening()), refused })

  const judge = (addresses: string[]): Guarded => {
    const surroundings = around()
    for (const address of addresses) {
      const found = classifyAddress(address, surroundings)
      if (found !== 'public') return { ok: false, reason: `address_${found}` }
    }
    return { ok: true, addresses }
  }
  const resolveAndJudge = async (host: string): Promise<Guarded> => {
    const addresses = await withTimeout(options.resolve(host), options.timeoutMs).catch(() => [])
    return addresses.length === 0 ? { ok: false, reason: 'name_unresolved' } : judge(addresses)
  }

  return {
    async check({ host, port }, rule) {
      if (rule.address !== undefined) return pinned(rule.address, port, options.listening())
      // An address written as a host needs no name server; no rule can name one, and it is judged all the same.
      if (isIP(host) !== 0) return judge([host])
      const kept = verdicts.get(host)
      if (kept !== undefined) return await kept
      const verdict = resolveAndJudge(host)
      verdicts.set(host, verdict)
      return await verdict
    },
  }
}

// Of an address alone, so that it never changes; rules name few.
const classesKept = new LRUCache<string, ReturnType<typeof classifyAddress>>({ max: 1_000 })

function classOf(address: string): ReturnType<typeof classifyAddress> {
  const kept = classesKept.get(address)
  if (kept !== undefined) return kept
  const found = classifyAddress(address, nowhere)
  classesKept.set(address, found)
  return found
}

const nowhere: Surroundings = { own: new Set(), refused: [] }

/**
 * The operator named this address for this rule and its port: it is dialled as it is, unless no tool has business
 * there (metadata, an address inside another), or it is this proxy itself.
 */
function pinned(address: string, port: number, listening: Listening[]): Guarded {
  const found = classOf(address)
  if (found !== 'public' && !pinnable(found)) return { ok: false, reason: `address_${found}` }
  const self = listening.filter((at) => at.port === port)
  const here = self.length > 0 && (found === 'loopback' || ownAddresses(self).has(normalAddress(address)))
  return here ? { ok: false, reason: 'address_own' } : { ok: true, addresses: [address] }
}

function ownAddresses(listening: { address: string }[]): Set<string> {
  const own = new Set(listening.map((at) => normalAddress(at.address)))
  for (const list of Object.values(networkInterfaces())) {
    for (const entry of list ?? []) own.add(normalAddress(entry.address.split('%')[0] ?? entry.address))
  }
  return own
}

async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('name resolution took too long')), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

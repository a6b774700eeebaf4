import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { LRUCache } from 'lru-cache'
import {
  type AddressClass,
  classifyAddress,
  type EgressRule,
  normalAddress,
  parseRanges,
  pinnable,
  type Surroundings,
} from '../../catalog/index.ts'
import type { Log } from '../../core/index.ts'
import { createMeter, limitReason } from '../bounds/limits.ts'
import type { Destination } from '../request/tuple.ts'
import type { DenialReason } from './denial.ts'
import { createLookUps } from './look-ups.ts'

/**
 * Every address of a name; throws `ENOTFOUND` or `ENODATA` when there is none, anything else when that cannot be found
 * out. The proxy's only way to ask DNS.
 */
export type Resolve = (host: string) => Promise<string[]>

export const systemResolve: Resolve = async (host) =>
  (await lookup(host, { all: true, order: 'verbatim' })).map((answer) => answer.address)

export type Guarded =
  /** `addressClass` is of every one of them: `public`, or what a rule that names its address excepts. */
  | { ok: true; addresses: string[]; addressClass: AddressClass | 'public' }
  | {
      ok: false
      by: 'rule'
      reason: Extract<DenialReason, `address_${string}` | 'name_unresolved' | 'name_lookup_failed'>
    }
  /** Nothing is wrong with the name; too many are being looked up. */
  | { ok: false; by: 'limit'; reason: Extract<DenialReason, 'too_many_requests' | 'proxy_overloaded'> }

export interface Guard {
  /**
   * The addresses that may be dialled for this destination under this rule, in order; at once where no name must be
   * looked up. `principalId` is who asks.
   */
  check(
    destination: Destination,
    rule: Pick<EgressRule, 'address'>,
    principalId: string,
  ): Guarded | Promise<Guarded>
  /** Look-ups beyond `timeoutMs`, each of which holds a thread and its place among `lookUps`. */
  readonly overdueLookUps: number
}

/** An address and a port where this proxy can be reached. */
type Listening = { address: string; port: number }

/**
 * Resolves a name once and judges every answer: one address that is not public refuses them all, so that a mixed
 * answer cannot be played for the second look-up that never comes. A verdict is kept for two seconds. `listening` is
 * where this proxy itself can be reached, `refusedRanges` what the configuration refuses besides (CIDR), `lookUps` how
 * many names may be looked up at the same time.
 */
export function createGuard(options: {
  resolve: Resolve
  listening: () => Listening[]
  refusedRanges: readonly string[]
  timeoutMs: number
  lookUps: { perPrincipal: number; total: number }
  log: Log
}): Guard {
  const refused = parseRanges(options.refusedRanges)
  const around = (): Surroundings => ({ own: ownAddresses(options.listening()), refused })

  const judge = (addresses: string[]): Guarded => {
    const surroundings = around()
    for (const address of addresses) {
      const found = classifyAddress(address, surroundings)
      if (found !== 'public') return { ok: false, by: 'rule', reason: `address_${found}` }
    }
    return { ok: true, addresses, addressClass: 'public' }
  }
  // Rules name few addresses; the machine's own may change.
  const classes = new LRUCache<string, AddressClass | 'public'>({ max: 1_000, ttl: 2_000 })
  const classOf = (address: string) => {
    const kept = classes.get(address)
    if (kept !== undefined) return kept
    const found = classifyAddress(address, around())
    classes.set(address, found)
    return found
  }
  /**
   * The operator named this address for this rule and its port: it is dialled as it is, unless no tool has business
   * there (metadata, an address inside another), or it is this proxy itself.
   */
  const pinned = (address: string, port: number): Guarded => {
    const found = classOf(address)
    if (found !== 'public' && !pinnable(found)) return { ok: false, by: 'rule', reason: `address_${found}` }
    const self = options.listening().filter((at) => at.port === port)
    const here = self.length > 0 && (found === 'loopback' || ownAddresses(self).has(normalAddress(address)))
    if (here) return { ok: false, by: 'rule', reason: 'address_own' }
    return { ok: true, addresses: [address], addressClass: found }
  }
  const warner = () => {
    const meter = createMeter(10)
    return (facts: object, message: string) => {
      const suppressed = meter.pass()
      if (suppressed === undefined) return
      options.log.warn({ ...facts, ...(suppressed === 0 ? {} : { suppressed }) }, message)
    }
  }
  const warnFailed = warner()
  const warnOverdue = warner()
  const look = createLookUps<Guarded>({
    async ask(host) {
      try {
        const addresses = await options.resolve(host)
        return addresses.length === 0 ? unresolved : judge(addresses)
      } catch (err) {
        const { code } = err as NodeJS.ErrnoException
        if (code === 'ENOTFOUND' || code === 'ENODATA') return unresolved
        warnFailed({ host, ...(code === undefined ? { err } : { code }) }, 'a name could not be looked up')
        return lookUpFailed
      }
    },
    late: lookUpFailed,
    keptMs: 2_000,
    timeoutMs: options.timeoutMs,
    ...options.lookUps,
    onOverdue: (host) => warnOverdue({ host, overdue: look.overdue }, 'a name is not resolved in time'),
  })

  return {
    check({ host, port }, rule, principalId) {
      if (rule.address !== undefined) return pinned(rule.address, port)
      // An address written as a host needs no name server; no rule can name one, and it is judged all the same.
      if (isIP(host) !== 0) return judge([host])
      const verdict = look.find(host, principalId)
      if (typeof verdict === 'object') return verdict
      return { ok: false, by: 'limit', reason: limitReason(verdict, 'too_many_requests') }
    },
    get overdueLookUps() {
      return look.overdue
    },
  }
}

/** The name server says that there is none. */
const unresolved: Guarded = { ok: false, by: 'rule', reason: 'name_unresolved' }
/** Nothing is known of the name. */
const lookUpFailed: Guarded = { ok: false, by: 'rule', reason: 'name_lookup_failed' }

function ownAddresses(listening: { address: string }[]): Set<string> {
  const own = new Set(listening.map((at) => normalAddress(at.address)))
  for (const list of Object.values(networkInterfaces())) {
    for (const entry of list ?? []) own.add(normalAddress(entry.address.split('%')[0] ?? entry.address))
  }
  return own
}

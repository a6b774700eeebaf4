import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { metadataAddresses } from './metadata-addresses.ts'

/** Why an address is never dialled for a name; the class may be told, the address never is. */
export const addressClasses = [
  'private',
  'loopback',
  'link_local',
  'metadata',
  'shared',
  'multicast',
  'unspecified',
  'reserved',
  'embedded',
  'refused',
  'own',
  'malformed',
] as const
export type AddressClass = (typeof addressClasses)[number]

/** Classes that no rule may name as its `address` either: nothing that a tool is for answers there. */
const neverPinned: ReadonlySet<AddressClass> = new Set([
  'metadata',
  'multicast',
  'unspecified',
  'embedded',
  'malformed',
])

/** Whether a rule may except an address of this class from refusal, by naming it. */
export function pinnable(found: AddressClass | 'public'): boolean {
  return found === 'public' || !neverPinned.has(found)
}

/** The class in a sentence: `an unspecified address`. */
export function anAddress(found: AddressClass | 'public'): string {
  return `${/^[aeiou]/.test(found) ? 'an' : 'a'} ${found} address`
}

/** What is known of this deployment's surroundings. */
export interface Surroundings {
  /** Addresses of the proxy's machine, in normal spelling. */
  own: ReadonlySet<string>
  /** Ranges that the configuration refuses. */
  refused: readonly Range[]
}

/** A parsed CIDR. */
export type Range = [ipaddr.IPv4 | ipaddr.IPv6, number]

const classes: Record<string, AddressClass> = {
  private: 'private',
  uniqueLocal: 'private',
  loopback: 'loopback',
  linkLocal: 'link_local',
  carrierGradeNat: 'shared',
  multicast: 'multicast',
  unspecified: 'unspecified',
  broadcast: 'multicast',
  ipv4Mapped: 'embedded',
  rfc6145: 'embedded',
  rfc6052: 'embedded',
  '6to4': 'embedded',
  teredo: 'embedded',
}

/**
 * `public` for an address that a name may lead to; otherwise the class that it is refused for. Only global
 * unicast passes: what a newer registry sets apart and this list does not know is still outside 2000::/3.
 */
export function classifyAddress(address: string, around: Surroundings): AddressClass | 'public' {
  const family = isIP(address)
  if (family === 0 || address.includes('%')) return 'malformed'
  const parsed = ipaddr.parse(address)
  const text = parsed.toString()
  if (metadataAddresses.has(text)) return 'metadata'
  const range = parsed.range()
  if (range !== 'unicast') return classes[range] ?? 'reserved'
  if (parsed instanceof ipaddr.IPv6 && !parsed.match(ipaddr.IPv6.parse('2000::'), 3)) {
    // ::a.b.c.d (compatible) carries an IPv4 address.
    return parsed.parts[0] === 0 ? 'embedded' : 'reserved'
  }
  if (around.refused.some((range) => within(parsed, range))) return 'refused'
  return around.own.has(text) ? 'own' : 'public'
}

/** Ranges in CIDR notation, made ready; throws on what is none. */
export function parseRanges(ranges: readonly string[]): Range[] {
  return ranges.map((range) => ipaddr.parseCIDR(range))
}

function within(address: ipaddr.IPv4 | ipaddr.IPv6, [network, bits]: Range): boolean {
  return address.kind() === network.kind() && address.match(network, bits)
}

/** An address in the one spelling by which two are compared. */
export function normalAddress(address: string): string {
  return ipaddr.parse(address).toString()
}

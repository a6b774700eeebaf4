import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

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
  'own',
  'malformed',
] as const
export type AddressClass = (typeof addressClasses)[number]

// Metadata and platform services of clouds that do not sit in a range that is refused anyway, or whose name in
// the record should say what they are.
const metadata = new Set([
  '169.254.169.254',
  '169.254.170.2',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  'fd00:ec2::254',
  'fd20:ce::254',
])

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
export function classifyAddress(address: string, own: ReadonlySet<string>): AddressClass | 'public' {
  const family = isIP(address)
  if (family === 0 || address.includes('%')) return 'malformed'
  const parsed = ipaddr.parse(address)
  const text = parsed.toString()
  if (metadata.has(text)) return 'metadata'
  const range = parsed.range()
  if (range !== 'unicast') return classes[range] ?? 'reserved'
  if (parsed instanceof ipaddr.IPv6 && !parsed.match(ipaddr.IPv6.parse('2000::'), 3)) {
    // ::a.b.c.d (compatible) and 64:ff9b:1::/48 (local NAT64) carry an IPv4 address.
    const [first, second] = parsed.parts
    return first === 0 || (first === 0x64 && second === 0xff9b) ? 'embedded' : 'reserved'
  }
  return own.has(text) ? 'own' : 'public'
}

/** An address in the one spelling by which two are compared. */
export function normalAddress(address: string): string {
  return ipaddr.parse(address).toString()
}

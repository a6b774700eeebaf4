import ipaddr from 'ipaddr.js'

/** Where a token was used, coarse enough not to follow a person: `192.0.2.0/24` or `2001:db8:1::/48`. */
export function coarseAddress(address: string): string {
  return network(address, 24, 48)
}

/** Whom a limit counts: one IPv4 address, or the /64 that one IPv6 subscriber has at least. */
export function limitedAddress(address: string): string {
  return network(address, 32, 64)
}

function network(address: string, bits4: number, bits6: number): string {
  if (!ipaddr.isValid(address)) return 'unknown'
  const parsed = ipaddr.process(address)
  const bits = parsed.kind() === 'ipv4' ? bits4 : bits6
  const bytes = parsed
    .toByteArray()
    .map((byte, i) => byte & (0xff << Math.max(0, 8 - Math.max(0, bits - i * 8))) & 0xff)
  return `${ipaddr.fromByteArray(bytes).toString()}/${bits}`
}

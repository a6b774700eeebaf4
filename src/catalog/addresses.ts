import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { z } from 'zod'

/** An address in its one spelling: dotted IPv4, or IPv6 as RFC 5952 writes it and with no IPv4 inside. */
export const canonicalAddress = z.string().refine(isCanonical, {
  error: 'write one address in its usual form, such as 10.20.30.40 or fd12:3456::7',
})

/** A range in CIDR notation that starts where it says, so that nobody misreads how far it goes. */
export const addressRange = z.string().refine(isRange, {
  error: 'write a range such as 10.96.0.0/12 or fd00:10:96::/112, with its first address before the slash',
})

function isCanonical(text: string): boolean {
  if (isIP(text) === 4) return true
  if (isIP(text) !== 6 || text.includes('%') || text.startsWith('::ffff:')) return false
  return new URL(`http://[${text}]/`).hostname === `[${text}]`
}

function isRange(text: string): boolean {
  const [network = '', prefix = ''] = text.split('/')
  if (!isCanonical(network) || !/^(?:\d|[1-9]\d{1,2})$/.test(prefix)) return false
  const family = isIP(network) === 4 ? ipaddr.IPv4 : ipaddr.IPv6
  if (Number(prefix) > (isIP(network) === 4 ? 32 : 128) || text !== `${network}/${prefix}`) return false
  return family.networkAddressFromCIDR(text).toString() === ipaddr.parse(network).toString()
}

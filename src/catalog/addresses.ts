import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { z } from 'zod'
import { anAddress, classifyAddress, pinnable } from './address-classes.ts'

/**
 * An address that a rule may lead to, in its one spelling: dotted IPv4, or IPv6 as RFC 5952 writes it. What would be
 * refused whoever names it (see `pinnable`) is refused when it is written.
 */
export const canonicalAddress = z.string().refine((text) => addressProblem(text) === undefined, {
  error: ({ input }) => addressProblem(String(input)),
})

/** A range in CIDR notation that starts where it says, so that nobody misreads how far it goes. */
export const addressRange = z.string().refine(isRange, {
  error: 'write a range such as 10.96.0.0/12 or fd00:10:96::/112, with its first address before the slash',
})

function addressProblem(text: string): string | undefined {
  const such = 'such as 10.20.30.40 or fd12:3456::7'
  if (!isCanonical(text)) return `write one address in its usual form, ${such}`
  const found = classifyAddress(text, { own: new Set(), refused: [] })
  if (pinnable(found)) return undefined
  return found === 'embedded'
    ? `it carries an IPv4 address, and no rule can name it: write that one, ${such}`
    : `no rule can name ${anAddress(found)}: write the host's own, ${such}`
}

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

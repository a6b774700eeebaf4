import { isIPv4, isIPv6 } from 'node:net'
import { domainToASCII, domainToUnicode } from 'node:url'

/** A host in its one spelling: a lower-case DNS name without trailing dot, dotted IPv4, or bracketless IPv6. */
export type CanonicalHost = { ok: true; host: string } | { ok: false }

const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * The canonical spelling of a host as it stands in an authority. Only letter case is folded; every other
 * spelling of the same place (trailing dot, octal or short IPv4, long IPv6, zone id, percent-encoding, Unicode)
 * is refused, so that what is matched is what is resolved and sent.
 */
export function canonicalHost(text: string): CanonicalHost {
  const host = text.toLowerCase()
  if (host.startsWith('[')) return bracketed(host)
  if (host.length === 0 || host.length > 253) return { ok: false }
  const labels = host.split('.')
  if (!labels.every((part) => label.test(part))) return { ok: false }
  const last = labels.at(-1) ?? ''
  // A name that ends in a number is an IPv4 address to somebody: 127.1, 0x7f.1, 2130706433.
  if (/^(?:\d+|0x[0-9a-f]*)$/.test(last)) return isIPv4(host) ? { ok: true, host } : { ok: false }
  if (labels.some((part) => part.startsWith('xn--')) && !isCanonicalPunycode(host)) return { ok: false }
  return { ok: true, host }
}

function bracketed(host: string): CanonicalHost {
  const inner = host.slice(1, -1)
  if (!host.endsWith(']') || inner.includes('%') || !isIPv6(inner)) return { ok: false }
  // WHATWG's serialiser knows the one short form; anything else is another spelling of it.
  return new URL(`http://${host}/`).hostname === host ? { ok: true, host: inner } : { ok: false }
}

function isCanonicalPunycode(host: string): boolean {
  const unicode = domainToUnicode(host)
  return unicode !== '' && domainToASCII(unicode) === host && unicode !== host
}

/** The port of an address that names none. */
export function schemePort(scheme: 'http' | 'https'): number {
  return scheme === 'https' ? 443 : 80
}

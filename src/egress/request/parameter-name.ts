import { queryKey } from '../../catalog/index.ts'
import { percentOctets } from './percent-octets.ts'

/** What stands before the value of a `name=value` pair of a query or a form, as it is written. */
export function nameOf(pair: string): string {
  const mark = pair.indexOf('=')
  return mark === -1 ? pair : pair.slice(0, mark)
}

/**
 * Whether some server takes the name of this pair for `key`, which is in the spelling of `queryKey`. qs reads `[key]`
 * and Rack `]key` as `key`, PHP `a[key` as `a_key` and nothing beyond a NUL, ASP.NET `%u006b` as a letter.
 */
export function isParameter(pair: string, key: string): boolean {
  // No more of it than can matter: a name may be as long as a body.
  const start = nameOf(pair)
    .replace(passedOver, '')
    .slice(0, longestWritten * (key.length + 1))
  const name = read(start).split('\0', 1)[0] ?? ''
  return queryKey(name.split(']', 1)[0] ?? '') === key || queryKey(name.replaceAll('[', '_')) === key
}

/** Three octets, each as an escape. */
const longestWritten = 9

/** White space and brackets, escaped or not. */
const passedOver = /^(?:[\s+[\]]|%(?:u00)?(?:09|0[a-d]|20|5[bd]))+/i

/** As a lenient server does: what is no escape stands for itself. */
function read(text: string): string {
  if (!/[%+]/.test(text)) return text
  const wide = text
    .replaceAll('+', ' ')
    .replace(/%u([0-9a-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  const octets = percentOctets(Buffer.from(wide).toString('latin1'))
  return Buffer.from(octets, 'latin1').toString()
}

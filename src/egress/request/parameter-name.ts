import { queryKey } from '../../catalog/index.ts'
import { percentOctets } from './percent-octets.ts'

/** What stands before the value of a `name=value` pair of a query or a form, as it is written. */
export function nameOf(pair: string): string {
  const mark = pair.indexOf('=')
  return mark === -1 ? pair : pair.slice(0, mark)
}

/**
 * Tells for which of `keys`, which are in the spelling of `queryKey`, some server takes the name of a pair, if for any.
 * qs reads `[key]` and Rack `]key` as `key`, PHP `a[key` as `a_key` and nothing beyond a NUL, ASP.NET `%u006b` as a
 * letter. Each name is read once, whatever it may be taken for: a head has room for thirty thousand.
 */
export function parameterIn(keys: readonly string[]): (pair: string) => string | undefined {
  const lengths = keys.map((key) => key.length)
  const longest = longestWritten * (Math.max(...lengths) + 1)
  const shortest = Math.min(...lengths)
  return (pair) => {
    const written = nameOf(pair)
    // There may be thousands, each too short: nothing is longer when it is read, but this letter.
    if (written.length < shortest && !written.includes('İ')) return undefined
    // No more of it than can matter: a name may be as long as a body.
    const name = read(written.replace(passedOver, '').slice(0, longest)).split('\0', 1)[0] ?? ''
    const inner = queryKey(name.split(']', 1)[0] ?? '')
    const whole = queryKey(name.replaceAll('[', '_'))
    return keys.find((key) => key === inner || key === whole)
  }
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

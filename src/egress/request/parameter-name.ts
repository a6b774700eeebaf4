import { queryKey } from '../../catalog/index.ts'
import { percentOctets } from './percent-octets.ts'

/** What stands before the value of a `name=value` pair of a query or a form, as it is written. */
export function nameOf(pair: string): string {
  const mark = pair.indexOf('=')
  return mark === -1 ? pair : pair.slice(0, mark)
}

/**
 * Which of `keys`, in the spelling of `queryKey`, some server takes the name of this pair for: the first of them. qs reads
 * `[key]` and Rack `]key` as `key`, PHP `a[key` as `a_key` and nothing beyond a NUL, ASP.NET `%u006b` as a letter.
 */
export function parameterOf(pair: string, keys: readonly string[]): string | undefined {
  const written = nameOf(pair)
  // There may be thousands of them, all for nobody else to wait for: nothing is longer when it is read, but this letter.
  if (keys.every((key) => written.length < key.length) && !written.includes('İ')) return undefined
  const longest = Math.max(...keys.map((key) => key.length))
  // No more of it than can matter: a name may be as long as a body.
  const start = written.replace(passedOver, '').slice(0, longestWritten * (longest + 1))
  const name = read(start).split('\0', 1)[0] ?? ''
  const inBrackets = queryKey(name.split(']', 1)[0] ?? '')
  const flat = queryKey(name.replaceAll('[', '_'))
  return keys.find((key) => key === inBrackets || key === flat)
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

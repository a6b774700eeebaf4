import { isParameter, nameOf } from './parameter-name.ts'
import { percentOctets } from './percent-octets.ts'

/**
 * Whether a query (with its `?`, or empty) has a `_method` that names another method than the request's own: Laravel,
 * Symfony, WordPress and others act by that one. In every spelling that some server takes for the name.
 */
export function overridesMethod(query: string, method: string): boolean {
  // Whatever it is written like, it has these letters or an escape.
  if (!/method|%/i.test(query)) return false
  return query
    .slice(1)
    .split(/[&;]/)
    .some((pair) => {
      if (!isParameter(pair, '_method')) return false
      const named = read(pair.slice(nameOf(pair).length + 1))
        .trim()
        .toUpperCase()
      return named !== '' && named !== method
    })
}

/** As a lenient server reads it, a character for each octet, and cut at a NUL. */
function read(text: string): string {
  return percentOctets((text.split(/%00|\0/)[0] ?? '').replaceAll('+', ' '))
}

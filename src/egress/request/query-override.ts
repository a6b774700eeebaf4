import { isParameter, nameOf } from './parameter-name.ts'
import { percentOctets } from './percent-octets.ts'

/**
 * Parameters by which some server takes another method for the request's own: Laravel, Symfony, WordPress and others;
 * Salesforce; Google; Struts; ServiceStack. As `queryKey` spells them.
 */
const methodNames = ['_method', '_httpmethod', '$httpmethod', '_http_method', 'x-http-method-override']
/** Google's: fields of the head, in the place of those that were sent. */
const headersName = '$httpheaders'

/**
 * Whether a query (with its `?`, or empty) names another method than the request's own in a parameter that some server
 * acts by, or fields of the head. In every spelling that some server takes for the name.
 */
export function overridesMethod(query: string, method: string): boolean {
  // Whatever it is written like, it has these letters or an escape.
  if (!/method|httpheaders|%/i.test(query)) return false
  return query
    .slice(1)
    .split(/[&;]/)
    .some((pair) => {
      if (isParameter(pair, headersName)) return true
      if (!methodNames.some((name) => isParameter(pair, name))) return false
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

import { requestMethods } from './head.ts'
import { nameOf, parameterIn } from './parameter-name.ts'
import { percentOctets } from './percent-octets.ts'

/**
 * Parameters by which some server takes another method for the request's own: Laravel, Symfony, WordPress and others;
 * Salesforce; Google; Struts; ServiceStack; IBM's rule server. As `queryKey` spells them.
 */
const methodNames = [
  '_method',
  '_httpmethod',
  '$httpmethod',
  '_http_method',
  'x-http-method-override',
  'x-method-override',
]
/** Facebook's, and a word of data to most others. */
const plainName = 'method'
/** Google's: fields of the head, in the place of those that were sent. */
const headersName = '$httpheaders'
const takenFor = parameterIn([...methodNames, plainName, headersName])

/** Methods other than the request's own that its query names in a parameter by which some server acts. */
export interface QueryMethods {
  /** It names one where nothing else is meant, or fields of the head. */
  overrides: boolean
  /** Those that it names in `method`, which is data to most servers: each a method that a rule can have, and once. */
  perhaps: readonly string[]
}

const none: QueryMethods = { overrides: false, perhaps: [] }

/** What the query (with its `?`, or empty) names, in every spelling that some server takes for the name. */
export function queryMethods(query: string, method: string): QueryMethods {
  // Whatever it is written like, it has these letters or an escape.
  if (!/method|httpheaders|%/i.test(query)) return none
  let overrides = false
  const perhaps = new Set<string>()
  for (const pair of query.slice(1).split(/[&;]/)) {
    const name = takenFor(pair)
    if (name === headersName) overrides = true
    else if (name !== undefined) {
      const named = read(pair.slice(nameOf(pair).length + 1))
        .trim()
        .toUpperCase()
      if (named === '' || named === method) continue
      if (name !== plainName) overrides = true
      else if (requestMethods.has(named)) perhaps.add(named)
    }
  }
  return { overrides, perhaps: [...perhaps] }
}

/** As a lenient server reads it, a character for each octet, and cut at a NUL. */
function read(text: string): string {
  return percentOctets((text.split(/%00|\0/)[0] ?? '').replaceAll('+', ' '))
}

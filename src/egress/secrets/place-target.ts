import { queryKey } from '../../catalog/index.ts'
import { nameOf, parameterIn } from '../request/parameter-name.ts'
import { decoded, formDecoded } from './decoded.ts'
import { type Bound, filled, type Placed, refused, replaces } from './slot.ts'

/** The path with the credential as its nth segment, percent-encoded: it can become no other path. */
export function placeInPath(path: string, segment: number, bound: Bound): Placed<string> {
  const segments = path.split('/')
  // Where a server takes an encoded slash for a slash, the nth segment is another one.
  if (segments.slice(0, segment).some((before) => before.includes('%2F'))) return refused('slot_missing')
  const own = segments[segment]
  if (own === undefined || own === '') {
    return bound.placeholder === undefined ? refused('slot_missing') : { ok: true, now: path, used: false }
  }
  if (!replaces(bound, decoded(own))) return refused('placeholder_missing')
  segments[segment] = encodeURIComponent(filled(bound))
  return { ok: true, now: segments.join('/'), used: true }
}

/**
 * `name=value` pairs, of a query without its `?` or of a form, with the credential as the last; every pair of the
 * caller's that some server takes for the same is left out.
 */
export function placeInPairs(pairs: string, name: string, bound: Bound): Placed<string> {
  const { own, others } = parted(pairs, [queryKey(name)])
  if (bound.placeholder !== undefined) {
    if (own.length === 0) return { ok: true, now: pairs, used: false }
    const [only = ''] = own
    const value = formDecoded(only.slice(nameOf(only).length + 1))
    if (own.length > 1 || !replaces(bound, value)) return refused('placeholder_missing')
  }
  others.push(`${encodeURIComponent(name)}=${encodeURIComponent(filled(bound))}`)
  return { ok: true, now: others.join('&'), used: true }
}

// Where a caller could carry a token of its own: RFC 6750 section 2.3, and GitLab's.
const tokenNames = ['access_token', 'private_token']

/** A query (with its `?`, or empty) without any token of the caller's own; a slot is judged by what fills it. */
export function withoutTokenParameters(query: string, bound: readonly Bound[]): string {
  // Whatever it is written like, it has these letters or an escape.
  if (!/token|%/i.test(query)) return query
  const slots = bound.map(({ slot }) => (slot.kind === 'query' ? queryKey(slot.name) : undefined))
  const { own, others } = parted(
    query.slice(1),
    tokenNames.filter((name) => !slots.includes(name)),
  )
  return own.length === 0 ? query : `?${others.join('&')}`
}

/** Pairs whose name some server takes for one of the keys, and the rest of them. */
function parted(pairs: string, keys: readonly string[]): { own: string[]; others: string[] } {
  const own: string[] = []
  const others: string[] = []
  const takenFor = parameterIn(keys)
  for (const pair of pairs === '' ? [] : pairs.split('&')) {
    // Some servers part pairs at ";" too.
    const parts = pair.includes(';') ? pair.split(';') : [pair]
    const isOwn = parts.some((part) => takenFor(part) !== undefined)
    ;(isOwn ? own : others).push(pair)
  }
  return { own, others }
}

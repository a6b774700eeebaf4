import { headerValues } from '../request/head.ts'
import { type Bound, filled, type Placed, refused, replaces } from './slot.ts'

/** The value of the header that the slot is; undefined where a placeholder's slot is empty. */
export function placeInHeader(
  rawHeaders: readonly string[],
  bound: Bound,
): Placed<{ name: string; value: string } | undefined> {
  const { slot } = bound
  const name = slot.kind === 'header' ? slot.name : 'authorization'
  const isBasic = slot.kind === 'basic'
  if (bound.placeholder !== undefined) {
    const own = headerValues(rawHeaders, name)
    if (own.length === 0) return { ok: true, now: undefined, used: false }
    const [only = ''] = own
    const value = isBasic ? basicText(only) : only
    if (own.length > 1 || value === undefined || !replaces(bound, value))
      return refused('placeholder_missing')
  }
  const text = filled(bound)
  const value = isBasic ? `Basic ${Buffer.from(text, 'utf8').toString('base64')}` : text
  return { ok: true, now: { name, value }, used: true }
}

/** `user:password` of a Basic credential (RFC 7617); undefined for anything else. */
export function basicText(value: string): string | undefined {
  const encoded = /^basic +([A-Za-z0-9+/_-]+={0,2})$/i.exec(value.trim())?.[1]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8')
}

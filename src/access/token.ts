import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { randomText, Secret } from '../core/index.ts'

/**
 * The text of a key, as one shape for both kinds: `<kind>_<id>_<secret><checksum>`.
 *
 * - `kind`: `tcb` is a token of a principal, `tca` an admin key; fixed words that secret scanners can match.
 * - `id`: 12 characters of Crockford base 32; the row's name, not a secret.
 * - `secret`: 256 random bits as 43 characters of base 62.
 * - `checksum`: CRC-32 of everything before it as 6 characters of base 62. It tells a typo from a forgery without
 *   a database; it proves nothing.
 */
export type KeyKind = 'tcb' | 'tca'

export interface ParsedKey {
  id: string
  secret: string
}

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const shapes: Record<KeyKind, RegExp> = {
  tcb: /^tcb_([0-9a-hjkmnp-tv-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/,
  tca: /^tca_([0-9a-hjkmnp-tv-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/,
}
/** Characters in a whole key. */
export const keyLength = 4 + 12 + 1 + 43 + 6

/** A fresh id of a key, without its prefix. */
export function mintKeyId(): string {
  return randomText(12)
}

/** A fresh secret part: 256 bits from the system's random source. */
export function mintSecret(): Secret {
  return new Secret(base62(BigInt(`0x${randomBytes(32).toString('hex')}`), 43))
}

/** The whole text that a person gets, once. */
export function composeKey(kind: KeyKind, id: string, secret: Secret): Secret {
  const body = `${kind}_${id}_${secret.reveal()}`
  return new Secret(body + checksum(body))
}

/** The parts of a whole key, or `undefined` when the text cannot be one: mistyped, cut off, or something else. */
export function parseKey(kind: KeyKind, text: string): ParsedKey | undefined {
  const match = shapes[kind].exec(text)
  if (match === null) return undefined
  const [, id, secret, given] = match
  if (id === undefined || secret === undefined) return undefined
  return checksum(text.slice(0, -6)) === given ? { id, secret } : undefined
}

function checksum(body: string): string {
  return base62(BigInt(crc32(body)), 6)
}

function base62(value: bigint, length: number): string {
  let text = ''
  for (let rest = value; text.length < length; rest /= 62n) text = digits[Number(rest % 62n)] + text
  return text
}

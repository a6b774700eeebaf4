import { randomInt } from 'node:crypto'
import type { Form } from './form-table.ts'

/** Of bytes: nothing is known by those that are neither of the alphabet nor anything below. */
export const inert = 0
export const letter = 1
/** Begins the writing of something else. */
export const opener = 2
/** Stands in no writing of the forms that are searched for. */
export const separator = 3

/** By which signs some forms are known. */
export interface Alphabet {
  /** What each byte is. */
  readonly kinds: Uint8Array
  /** For each letter its number, for anything else 0. */
  readonly numbers: Int32Array
}

const charsOf = (signs: string) => Array.from(signs, (sign) => sign.charCodeAt(0))
const openers = charsOf('%&=\\')
const lettersAndDigits = charsOf('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz')
/**
 * Those of which no other sign is a writing, and which are themselves of none unless an opener begins it: a space may be
 * written as a plus, quotes as two.
 */
const otherSigns = charsOf('!#$()*,-./:;<>?@[]^_`{|}~')

/**
 * What stands in few credentials, and in no writing of anything but itself or, quotes, of another of them. Behind a
 * group of them no form goes on that has none of the group; they are taken together so that a time tells nothing of
 * single ones.
 */
const separators = [
  [...Array.from({ length: 31 }, (_, at) => at + 1), 127].filter((byte) => byte !== 10 && byte !== 13),
  ...[' ,<>()[]', `"'\``, ':!?*|~^@$'].map(charsOf),
  Array.from({ length: 128 }, (_, at) => 128 + at),
]

/**
 * Numbers of this process: that which some letters in a row make together is as good as random to whoever does not know
 * both these and the letters (Karp and Rabin, "Efficient randomized pattern-matching algorithms", 1987).
 */
const ofByte = Int32Array.from({ length: 256 }, () => randomInt(1, 2 ** 32))

/** Letters and digits; with `signs` those signs, too, that some of `forms` may have. */
export function alphabetOf(forms: readonly Form[], { signs }: { signs: boolean }): Alphabet {
  const kinds = new Uint8Array(256)
  for (const char of signs ? [...lettersAndDigits, ...otherSigns] : lettersAndDigits) kinds[char] = letter
  for (const char of openers) kinds[char] = opener
  for (const group of separators)
    if (!forms.some(({ bytes }) => group.some((byte) => bytes.includes(byte))))
      for (const byte of group) kinds[byte] = separator
  return { kinds, numbers: ofByte.map((number, byte) => (kinds[byte] === letter ? number : 0)) }
}

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decoded, formDecoded } from '../../src/egress/secrets/decoded.ts'

const piece = fc.oneof(
  fc.integer({ min: 0, max: 255 }).map((byte) => `%${byte.toString(16).padStart(2, '0')}`),
  fc.string({ unit: 'grapheme', maxLength: 2 }).map((text) => encodeURIComponent(text)),
  fc.constantFrom(
    '%',
    '%4',
    '%zz',
    '%25',
    '+',
    '&',
    'é',
    '%ED%A0%80',
    '%C0%80',
    '%F4%90%80%80',
    '%EF%BB%BF',
    'a',
  ),
)

test('escapes are read as decodeURIComponent reads them, and what it throws on stays as it is', () => {
  const reference = (text: string, read: string) => {
    try {
      return decodeURIComponent(read)
    } catch {
      return text
    }
  }
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const text = pieces.join('')
      expect(decoded(text)).toBe(reference(text, text))
      expect(formDecoded(text)).toBe(reference(text, text.replaceAll('+', ' ')))
    }),
    { numRuns: 5_000 },
  )
})

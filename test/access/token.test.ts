import fc from 'fast-check'
import { expect, test } from 'vitest'
import { composeKey, keyLength, mintKeyId, mintSecret, parseKey } from '../../src/access/token.ts'

const kinds = ['tcb', 'tca'] as const
const minted = fc.constantFrom(...kinds).map((kind) => {
  const id = mintKeyId()
  const secret = mintSecret()
  return { kind, id, secret, text: composeKey(kind, id, secret).reveal() }
})

test('a minted key parses into what it was made of, and has the announced length', () => {
  fc.assert(
    fc.property(minted, ({ kind, id, secret, text }) => {
      expect(text).toHaveLength(keyLength)
      expect(parseKey(kind, text)).toEqual({ id, secret: secret.reveal() })
    }),
  )
})

test('every change of a single character is refused, whatever it becomes', () => {
  const { text } = { text: composeKey('tcb', mintKeyId(), mintSecret()).reveal() }
  const others = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_- \n\u00e9'
  for (let i = 0; i < text.length; i++) {
    for (const other of others) {
      if (text[i] === other) continue
      expect(parseKey('tcb', text.slice(0, i) + other + text.slice(i + 1))).toBeUndefined()
    }
  }
})

test('a key with a character lost, doubled or two neighbours swapped is refused', () => {
  fc.assert(
    fc.property(minted, fc.nat(keyLength - 2), ({ kind, text }, i) => {
      expect(parseKey(kind, text.slice(0, i) + text.slice(i + 1))).toBeUndefined()
      expect(parseKey(kind, text.slice(0, i) + text[i] + text.slice(i))).toBeUndefined()
      if (text[i] === text[i + 1]) return
      expect(parseKey(kind, text.slice(0, i) + text[i + 1] + text[i] + text.slice(i + 2))).toBeUndefined()
    }),
  )
})

test('any other text, and a key of the other kind, is refused', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(parseKey('tcb', text)).toBeUndefined()
    }),
  )
  expect(parseKey('tcb', composeKey('tca', mintKeyId(), mintSecret()).reveal())).toBeUndefined()
})

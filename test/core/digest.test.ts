import { createHmac, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMac, newId } from '../../src/core/index.ts'

test('a mac is HMAC-SHA-256, whatever the key and the text', () => {
  const bytes = fc.uint8Array({ minLength: 0, maxLength: 200 })
  fc.assert(
    fc.property(bytes, fc.string({ unit: 'grapheme' }), (key, text) => {
      expect(createMac(key)(text)).toEqual(createHmac('sha256', key).update(text).digest())
    }),
  )
  const key = randomBytes(32)
  const mac = createMac(key)
  expect(mac('a')).toEqual(mac('a'))
})

test('ids do not repeat and have one shape', () => {
  const ids = Array.from({ length: 20_000 }, () => newId('call'))
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(id).toMatch(/^call_[0-9a-hjkmnp-tv-z]{20}$/)
})

import { expect, test } from 'vitest'
import { parseSlot } from '../../src/catalog/index.ts'
import { Secret } from '../../src/core/index.ts'
import { type BodyForm, placeInBody } from '../../src/egress/secrets/place-body.ts'

function bound(pointer: string, value: string) {
  const slot = parseSlot(`body:${pointer}`)
  if (slot === undefined) throw new Error(`no slot: ${pointer}`)
  const binding = { credential: value, into: `body:${pointer}`, format: '{value}', placeholder: false }
  return { binding, slot, secret: new Secret(value), placeholder: undefined } as Parameters<
    typeof placeInBody
  >[2][number]
}

test.each<[BodyForm, string, pointers: [string, string], string]>([
  ['json', '{"a":"mine","b":"my own"}', ['/a', '/b'], '{"a":"first","b":"second"}'],
  ['json', '{"b":"my own","a":"mine","c":1}', ['/a', '/b'], '{"b":"second","a":"first","c":1}'],
  ['json', '{}', ['/a', '/b'], '{"b":"second","a":"first"}'],
  ['json', '{"c":1}', ['/a', '/b'], '{"b":"second","a":"first","c":1}'],
  ['json', '{"c":{},"b":""}', ['/c/a', '/b'], '{"c":{"a":"first"},"b":"second"}'],
  ['json', '{"c":{},"d":{}}', ['/d/a', '/c/b'], '{"c":{"b":"second"},"d":{"a":"first"}}'],
  ['form', 'b=my+own&c=1&a=mine', ['/a', '/b'], 'c=1&a=first&b=second'],
])('two credentials of one %s body are each in their own place: %s', (form, body, [a, b], expected) => {
  const placed = placeInBody(Buffer.from(body), form, [bound(a, 'first'), bound(b, 'second')])
  expect(placed).toMatchObject({ ok: true })
  expect(placed.ok && placed.body.toString()).toBe(expected)
  expect(placed.ok && placed.used.map(({ binding }) => binding.credential)).toEqual(['first', 'second'])
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonOctetText } from '../../src/egress/secrets/decoded.ts'
import { findInJson } from '../../src/egress/secrets/json-slots.ts'

const escaped = (text: string) =>
  Array.from(
    { length: text.length },
    (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('')

/** Every value of a JSON value with the reference tokens that lead to it. */
function* places(value: unknown, path: string[] = []): Generator<[path: string[], value: unknown]> {
  yield [path, value]
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) yield* places(inner, [...path, key])
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Whether an object has two keys that a pointer would not tell apart. */
const alike = (value: unknown): boolean =>
  Array.from(places(value)).some(([, one]) => {
    const keys = typeof one === 'object' && one !== null ? Object.keys(one) : []
    return new Set(keys.map((key) => key.toUpperCase().toLowerCase())).size < keys.length
  })

const jsonValue = fc.jsonValue({ maxDepth: 4, depthSize: 'medium' }).filter((value) => !alike(value))

test('a pointer finds each value of a JSON text where JSON.parse has it, at its place in the text', () => {
  fc.assert(
    fc.property(jsonValue, fc.constantFrom(undefined, 1), (value, indent) => {
      const parsed: unknown = JSON.parse(JSON.stringify(value))
      const text = JSON.stringify(value, null, indent)
      const all = [...places(parsed)]
      const found = findInJson(
        text,
        all.map(([path]) => path),
      )
      for (const [i, [, expected]] of all.entries()) {
        const place = typeof found === 'string' ? undefined : found[i]
        if (place?.kind !== 'value') throw new Error(`nothing at ${all[i]?.[0].join('/')} of ${text}`)
        expect(JSON.parse(text.slice(place.start, place.end))).toEqual(expected)
        expect(place.text).toBe(typeof expected === 'string' ? expected : undefined)
      }
    }),
    { numRuns: 1_000 },
  )
})

test.each([
  ['/auth/key', '{"auth":{},"Auth":{"key":"mine"}}'],
  ['/auth/key', '{"Auth":{"key":"mine"}}'],
  ['/auth/key', '{"AUTH":1}'],
  ['/a/0/key/x', '{"a":[{"Key":{}}]}'],
  ['/secret', '{"\u017fecret":"mine"}'],
  ['/secret', '{"\\u017fecret":"mine"}'],
  ['/key', '{"\u212aey":"mine"}'],
  ['/\u017fecret', '{"secret":"mine"}'],
  ['/api_key', '{"ap\u0130_key":"mine"}'],
  ['/key', '{"key\\u0000":"mine"}'],
  ['/key', '{"key":1,"Key\\u0000y":"mine"}'],
  ['/key', '{"key\\ud800":"mine"}'],
  ['/key', '{"key":1,"\\udfffk\\ud83dey":"mine"}'],
])(
  'nothing is found for %s where some reader, such as one without regard to case, finds it elsewhere: %s',
  (pointer, text) => {
    expect(findInJson(text, [pointer.slice(1).split('/')])).toBe('not_strict')
  },
)

test('nothing is found in a text that is nested so deep that to read it would end the process', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  expect(findInJson(nested(100), [])).toEqual([])
  for (const depth of [101, 100_000]) expect(findInJson(nested(depth), [])).toBe('not_strict')
})

test('nothing is found in a text of so many values that to read them would keep everybody waiting', () => {
  const values = (count: number) => `[${'{"a":0},'.repeat((count - 2) / 2)}1]`
  expect(findInJson(values(50_000), [])).toEqual([])
  expect(findInJson(values(50_002), [])).toBe('too_many_values')
})

test.each([
  '"',
  '\\',
  '/',
  'b',
  'f',
  'n',
  'r',
  't',
  'u0aF9',
  'u0aG9',
  'u0a9',
  'u',
  'x41',
  'v',
  '0',
  'U0041',
  '',
])('an escape is one where JSON.parse has it for one: \\%s', (escape) => {
  for (const text of [`"\\${escape}"`, `"\\${escape}z"`, `"\\${escape}`])
    expect(findInJson(text, []) !== 'not_strict').toBe(parses(text))
})

test('keys that no pointer leads to may differ in what they like', () => {
  const text = '{"other":{"key":1,"Key":2},"auth":{"key":{"a":1,"A":2}},"z":[{"Auth":1}]}'
  expect(findInJson(text, [['auth', 'key']])).toMatchObject([{ kind: 'value' }])
})

test('what JSON.parse does not take is no JSON here either, and what it takes without a repeated key is', () => {
  const cut = fc.record({
    at: fc.nat(),
    gone: fc.nat({ max: 2 }),
    put: fc.constantFrom('', '{', '}', '[', ']', '"', ',', ':', '\\', '0', '-', '.', 'e', '\n', '\x01'),
  })
  fc.assert(
    fc.property(jsonValue, cut, (value, { at, gone, put }) => {
      const text = JSON.stringify(value)
      const from = at % (text.length + 1)
      const broken = text.slice(0, from) + put + text.slice(from + gone)
      // Two keys become one by a cut; nothing else does that JSON.parse would not tell of.
      fc.pre(!/"(?:[^"\\]|\\.)*":[^]*"(?:[^"\\]|\\.)*":/.test(broken))
      expect(findInJson(broken, []) !== 'not_strict').toBe(parses(broken))
    }),
    { numRuns: 3_000, maxSkipsPerRun: 10_000 },
  )
})

test('a stand-in is found in a JSON text however its letters are escaped, and none where there is none', () => {
  const standIn = 'toolcrib-0123456789abcdef'
  for (const written of [
    standIn,
    escaped(standIn),
    `\\n${standIn}\\\\`,
    `\\\\${escaped(standIn.slice(0, 9))}${standIn.slice(9)}`,
  ])
    expect(jsonOctetText(`{"é\\u00e9":"${written}"}`).split(standIn)).toHaveLength(2)
  for (const other of [
    `\\t${standIn.slice(1)}`,
    `\\\\u0074${standIn.slice(1)}`,
    `\\u0174${standIn.slice(1)}`,
  ])
    expect(jsonOctetText(`{"é":"${other}"}`)).not.toContain(standIn)
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { definitionDigest, readDefinitions } from '../../src/catalog/definition.ts'
import { differences } from '../../src/catalog/diff.ts'
import { egressRule } from '../../src/catalog/index.ts'

const tool = (name: string, more: object = {}) => ({ name, inputSchema: { type: 'object' }, ...more })

test('definitions pass as they are, ordered by name', () => {
  const odd = tool('b', { title: 'B', 'x-own': [1, { y: null }], _meta: { z: 1 } })
  expect(readDefinitions([odd, tool('a')])).toEqual({ found: [tool('a'), odd], refused: [] })
})

test('a tool that cannot be offered is refused by name and reason, and the others stay', () => {
  const { found, refused } = readDefinitions([
    tool('good'),
    tool(''),
    tool('x'.repeat(129)),
    tool('bell\u0007'),
    { name: 'no schema' },
    tool('large', { description: 'x'.repeat(200_000) }),
  ])
  expect(found.map(({ name }) => name)).toEqual(['good'])
  expect(refused.map(({ reason }) => reason)).toEqual([
    'its name has 0 characters; use 1 to 128',
    'its name has 129 characters; use 1 to 128',
    'its name has control characters',
    'its inputSchema is not an object',
    'its definition is larger than 128 KiB',
  ])
  expect(refused[2]?.name).toBe('bell?')
})

test('a list that is too long, too large, too deep or names a tool twice is refused as a whole', () => {
  const deep = JSON.parse(`${'{"a":'.repeat(100)}1${'}'.repeat(100)}`) as object
  const cases: [object[], RegExp][] = [
    [Array.from({ length: 501 }, (_, i) => tool(`t${i}`)), /501 tools; at most 500/],
    [Array.from({ length: 21 }, (_, i) => tool(`t${i}`, { description: 'x'.repeat(110_000) })), /2 MiB/],
    [[tool('deep', { deep })], /deeper than 64/],
    [[tool('a'), tool('a')], /two tools with the name "a"/],
  ]
  for (const [list, message] of cases)
    expect(() => readDefinitions(list as { name: string }[])).toThrow(message)
})

test('x-mcp-header annotations are taken out of the input schema, a property of that name is not', () => {
  const inputSchema = {
    type: 'object',
    properties: {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      'x-mcp-header': { type: 'string', const: { 'x-mcp-header': 'data' } },
      list: { type: 'array', items: { anyOf: [{ type: 'string', 'x-mcp-header': 'L' }] } },
    },
    examples: [{ 'x-mcp-header': 'data' }],
  }
  expect(readDefinitions([tool('t', { inputSchema })]).found[0]?.['inputSchema']).toEqual({
    type: 'object',
    properties: {
      region: { type: 'string' },
      'x-mcp-header': { type: 'string', const: { 'x-mcp-header': 'data' } },
      list: { type: 'array', items: { anyOf: [{ type: 'string' }] } },
    },
    examples: [{ 'x-mcp-header': 'data' }],
  })
})

test('the digest changes with any member of the definition and with the destination, not with the order', () => {
  const egress = [egressRule.parse({ host: 'a.example.com', methods: ['GET'], paths: ['/'] })]
  const base = definitionDigest({ name: 'a', description: 'd' }, { egress })
  expect(definitionDigest({ description: 'd', name: 'a' }, { egress })).toBe(base)
  const elsewhere = [egressRule.parse({ host: 'b.example.com', methods: ['GET'], paths: ['/'] })]
  const others = [
    definitionDigest({ name: 'a', description: 'e' }, { egress }),
    definitionDigest({ name: 'a', description: 'd', annotations: { readOnlyHint: true } }, { egress }),
    definitionDigest({ name: 'a', description: 'd' }, { egress: elsewhere }),
    definitionDigest({ name: 'a', description: 'd' }, { egress: [] }),
  ]
  expect(new Set([base, ...others]).size).toBe(5)
})

test('the difference of two definitions is the list of the smallest places that differ', () => {
  const before = { a: 1, b: { c: [1, 2], 'd/e': 'x' }, gone: null }
  const after = { a: 1, b: { c: [1, 3], 'd/e': 'y' }, here: true }
  expect(differences(before, after)).toEqual([
    { path: '/b/c/1', before: 2, after: 3 },
    { path: '/b/d~1e', before: 'x', after: 'y' },
    { path: '/gone', before: null },
    { path: '/here', after: true },
  ])
})

test('property: there are differences exactly when two values differ', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      expect(differences(a, structuredClone(a))).toEqual([])
      expect(differences(a, b).length > 0).toBe(JSON.stringify(a) !== JSON.stringify(b))
    }),
    // Key order is no difference; such pairs are too rare to matter but the seed is fixed to stay deterministic.
    { seed: 7 },
  )
})

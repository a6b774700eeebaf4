import { expect, test } from 'vitest'
import { compileSchema } from '../../src/calls/schema.ts'

test('the dialect is that of $schema, 2020-12 when there is none', () => {
  const tuple = { type: 'object', properties: { t: { prefixItems: [{ type: 'string' }], items: false } } }
  expect(compileSchema(tuple)({ t: ['a'] })).toEqual([])
  expect(compileSchema(tuple)({ t: ['a', 'b'] })).toHaveLength(1)
  const old = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    properties: { t: { items: [{ type: 'string' }], additionalItems: false } },
  }
  expect(compileSchema(old)({ t: ['a', 'b'] })).toHaveLength(1)
  const middle = {
    $schema: 'https://json-schema.org/draft/2019-09/schema',
    properties: { t: { format: 'date-time' } },
  }
  expect(compileSchema(middle)({ t: 'noon' })).toEqual(['/t must match format "date-time"'])
})

test.each([
  ['a schema that would have to be fetched', { $ref: 'https://example.com/schema.json' }, /none is fetched/],
  ['one that is not valid', { type: 'nonsense' }, /it is not valid/],
  ['one with a broken pattern', { properties: { a: { pattern: '(' } } }, /it is not valid/],
  ['one in an unknown dialect', { $schema: 'https://example.com/own' }, /\$schema names a dialect/],
  ['one that is too large', { description: 'x'.repeat(200_000) }, /larger than 128 KiB/],
  ['nothing', undefined, /not an object/],
])('%s cannot be used, and says why', (_, schema, message) => {
  expect(() => compileSchema(schema)).toThrow(message)
})

test('a schema of one source is not seen by the schema of another', () => {
  const id = 'https://example.com/shared'
  expect(compileSchema({ $id: id, type: 'object' })({})).toEqual([])
  expect(compileSchema({ $id: id, type: 'object', required: ['a'] })({})).toHaveLength(1)
  expect(() => compileSchema({ properties: { a: { $ref: id } } })).toThrow(/none is fetched/)
})

test('a pattern that would take for ever is stopped', () => {
  const check = compileSchema({ properties: { a: { type: 'string', pattern: '^(a+)+$' } } })
  expect(check({ a: 'aaa' })).toEqual([])
  const since = performance.now()
  expect(() => check({ a: `${'a'.repeat(50)}b` })).toThrow(/takes too long/)
  expect(performance.now() - since).toBeLessThan(5_000)
  expect(check({ a: 'aaa' })).toEqual([])
})

test('a schema that calls itself without end is an answer, not a crash', () => {
  const endless = compileSchema({ anyOf: [{ $ref: '#' }, { $ref: '#' }] })
  expect(() => endless({})).toThrow(/takes too long/)
})

test('a schema that would answer with a promise is refused: nobody would await its rejection', () => {
  expect(() => compileSchema({ $async: true, type: 'object', required: ['x'] })).toThrow(/asynchronous/)
})

test('a value with very many mistakes costs neither memory nor time', () => {
  const choices = Array.from({ length: 200 }, (_, i) => ({ const: `v${i}` }))
  const check = compileSchema({ properties: { a: { items: { anyOf: choices } } } })
  expect(check({ a: ['v1', 'x'] }).length).toBeGreaterThan(1)
  const since = performance.now()
  expect(check({ a: Array.from({ length: 200_000 }, () => 'x') }).length).toBeGreaterThan(0)
  expect(() => check({ a: Array.from({ length: 200_000 }, () => 'v199') })).toThrow(/takes too long/)
  expect(performance.now() - since).toBeLessThan(5_000)
})

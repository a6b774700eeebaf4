import fc from 'fast-check'
import { expect, test } from 'vitest'
import { aliasFor, reservedAliases } from '../../src/catalog/index.ts'

test('an alias is the source and the tool in plain words', () => {
  expect(aliasFor('orders', 'list', new Set())).toBe('orders_list')
  expect(aliasFor('my-orders', 'v2.Create Order!', new Set())).toBe('my_orders_v2_create_order')
  expect(aliasFor('orders', '注文', new Set())).toBe('orders_tool')
})

test('what is too long or taken ends in a hash of the exact identity', () => {
  const long = aliasFor('orders', 'x'.repeat(100), new Set())
  expect(long).toMatch(/^orders_x{24}_[0-9a-f]{8}$/)
  const second = aliasFor('a', 'b.c', new Set(['a_b_c']))
  expect(second).toMatch(/^a_b_c_[0-9a-f]{8}$/)
  expect(aliasFor('a', 'b.c', new Set(['a_b_c', second]))).not.toBe(second)
})

test('names of our own tools are never given away', () => {
  expect(aliasFor('search', 'tools', new Set())).toMatch(/^search_tools_[0-9a-f]{8}$/)
})

// Source ids as the configuration allows them; remote names as hostile as they come.
const sourceId = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/)
const remoteName = fc.oneof(
  fc.string({ minLength: 1, maxLength: 128 }),
  fc.string({ minLength: 1, maxLength: 128, unit: 'grapheme' }),
  fc.constantFrom('a.b', 'a_b', 'a__b', 'a b', 'A.B', '_', '..', '__proto__', 'x'.repeat(128), '🦀'),
)

test('property: aliases are well formed, distinct for distinct tools, and stable', () => {
  const tools = fc.uniqueArray(fc.tuple(sourceId, remoteName), {
    maxLength: 60,
    selector: (tool) => JSON.stringify(tool),
  })
  fc.assert(
    fc.property(tools, (identities) => {
      const taken = new Set<string>()
      for (const [source, name] of identities) {
        const alias = aliasFor(source, name, taken)
        expect(alias).toMatch(/^[a-z0-9_]{1,40}$/)
        expect(taken.has(alias)).toBe(false)
        expect(reservedAliases).not.toContain(alias)
        expect(aliasFor(source, name, taken)).toBe(alias)
        taken.add(alias)
      }
    }),
  )
})

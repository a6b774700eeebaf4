import { expect, test } from 'vitest'
import { type CatalogConfig, createCatalog, sourceSpec } from '../../src/catalog/index.ts'
import { AppError, silentLog } from '../../src/core/index.ts'
import { listEvents, type Store } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

const spec = (change: object = {}) =>
  sourceSpec.parse({ kind: 'stdio', command: 'orders', review: 'on_first_sight', ...change })
const config = (change: Partial<CatalogConfig> = {}): CatalogConfig => ({
  sources: { orders: spec() },
  toolkits: {},
  rules: [],
  ...change,
})
const tool = (name: string, description = name) => ({ name, description, inputSchema: { type: 'object' } })
const kinds = async (store: Store) => (await listEvents(store.db, { limit: 100 })).map((event) => event.kind)

test('a configuration is written once, bumps the version only when it differs, and is audited', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const { version } = await catalog.latest()
  const full = config({
    toolkits: { support: { title: 'Support', tools: ['orders.*'] } },
    rules: [{ tools: 'orders.x', do: 'block', reason: 'no' }],
  })
  expect(await catalog.apply(full, 'file')).toEqual({ changed: true, removed: [] })
  expect(await catalog.apply(structuredClone(full), 'file')).toEqual({ changed: false, removed: [] })
  const now = await catalog.latest()
  expect(now.version).toBeGreaterThan(version)
  expect(now.sources.get('orders')).toMatchObject({ enabled: true, spec: spec() })
  expect(now.toolkits.get('support')).toEqual({ slug: 'support', title: 'Support', tools: ['orders.*'] })
  expect(now.rules).toEqual([{ tools: 'orders.x', do: 'block', reason: 'no' }])
  expect(await kinds(store)).toEqual(['config.applied'])
})

test('a source that vanished from the file is disabled and keeps its tools; back again, it is as it was', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  await catalog.discover('orders', async () => [tool('list')])
  await catalog.apply(config({ sources: {} }), 'file')
  const without = await catalog.latest()
  expect(without.sources.get('orders')?.enabled).toBe(false)
  expect(without.tools.has('orders_list')).toBe(true)
  expect(await catalog.listTools()).toMatchObject([{ alias: 'orders_list', configured: false }])
  await expect(catalog.discover('orders', async () => [])).rejects.toMatchObject({ code: 'not_found' })
  await catalog.apply(config(), 'file')
  expect((await catalog.latest()).sources.get('orders')?.enabled).toBe(true)
})

test('a snapshot is shared while its version stands, reloaded once when another is asked for, and frozen', async () => {
  await using store = await testStore()
  const [one, two] = [createCatalog({ store, log: silentLog }), createCatalog({ store, log: silentLog })]
  const first = await one.latest()
  expect(await one.current(first.version)).toBe(first)
  await two.apply(config(), 'file')
  expect(await one.current(first.version)).toBe(first)
  const [a, b] = await Promise.all([one.current(first.version + 1), one.current(first.version + 1)])
  expect(a).toBe(b)
  expect(a?.sources.has('orders')).toBe(true)
  expect(Object.isFrozen(a?.sources.get('orders')?.spec.args)).toBe(true)
})

test('a database that lost its last version gives what comes then another one, and nobody goes by what was lost', async () => {
  await using store = await testStore()
  const [one, two] = [createCatalog({ store, log: silentLog }), createCatalog({ store, log: silentLog })]
  const { version } = await one.latest()
  await two.apply(config(), 'file')
  const lost = await one.latest()
  // As it was before, on the server that takes over.
  await store.db.deleteFrom('sources').execute()
  await store.db.updateTable('catalog_state').set({ version, config_digest: null }).execute()
  await two.apply(config({ toolkits: { support: { title: 'Support', tools: ['orders.*'] } } }), 'file')
  const now = await one.latest()
  expect(now.version).toBeGreaterThan(lost.version)
  expect([...now.toolkits.keys()]).toEqual(['support'])
})

test('invariant 9: only the definitions of the very first discovery are accepted by themselves', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  expect(await catalog.undiscovered()).toEqual(['orders'])
  await catalog.discover('orders', async () => [tool('list')])
  expect(await catalog.undiscovered()).toEqual([])
  const second = await catalog.discover('orders', async () => [
    tool('list', 'now it also deletes'),
    tool('new'),
  ])
  expect(second).toMatchObject({ added: ['new'], changed: ['list'], missing: [] })
  expect((await catalog.listTools()).map(({ alias, review }) => [alias, review])).toEqual([
    ['orders_list', 'changed'],
    ['orders_new', 'new'],
  ])
})

test('with review by_hand nothing is accepted by itself', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config({ sources: { orders: spec({ review: 'by_hand' }) } }), 'file')
  await catalog.discover('orders', async () => [tool('list')])
  expect((await catalog.listTools()).map((found) => found.review)).toEqual(['new'])
})

test('a changed definition is shown as a difference and accepted by its digest only', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  await catalog.discover('orders', async () => [tool('list')])
  await catalog.discover('orders', async () => [tool('list', 'other')])
  const [found] = await catalog.listTools()
  expect(found?.changes).toEqual([{ path: '/definition/description', before: 'list', after: 'other' }])
  await expect(catalog.acceptTool('orders_list', found?.acceptedDigest ?? '', 'dana')).rejects.toMatchObject({
    code: 'conflict',
  })
  await catalog.acceptTool('orders_list', found?.definitionDigest ?? '', 'dana')
  await catalog.acceptTool('orders_list', found?.definitionDigest ?? '', 'dana')
  expect((await catalog.listTools())[0]).toMatchObject({ review: 'accepted', changes: [] })
  expect((await kinds(store)).filter((kind) => kind === 'tool.reviewed')).toHaveLength(1)
  await expect(catalog.acceptTool('nothing', 'x', 'dana')).rejects.toMatchObject({ code: 'not_found' })
})

test('warn mode must be accepted, whatever its end is; taken out again it need not be', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const look = async () => (await catalog.listTools()).map(({ review, changes }) => ({ review, changes }))
  const apply = async (change: object) =>
    await catalog.apply(config({ sources: { orders: spec(change) } }), 'file')
  const egress = [{ host: 'api.example.com', methods: ['GET'], paths: ['/v1'] }]
  const warn = (day: number) => ({ egress, egress_warn_until: `2026-12-0${day}T00:00:00Z` })
  await apply({ egress })
  await catalog.discover('orders', async () => [tool('list')])
  const accepted = [{ review: 'accepted', changes: [] }]
  expect(await look()).toEqual(accepted)

  await apply(warn(1))
  expect(await look()).toEqual([
    { review: 'changed', changes: [{ path: '/anywhere', before: false, after: true }] },
  ])
  await apply({ egress })
  expect(await look()).toEqual(accepted)

  await apply(warn(1))
  const [found] = await catalog.listTools()
  await catalog.acceptTool('orders_list', found?.definitionDigest ?? '', 'dana')
  await apply(warn(2))
  expect(await look()).toEqual(accepted)
  await catalog.discover('orders', async () => [tool('list')])
  expect(await look()).toEqual(accepted)
  await apply({ egress })
  expect(await look()).toEqual(accepted)
  await apply(warn(3))
  expect(await look()).toMatchObject([{ review: 'changed' }])

  const [again] = await catalog.listTools()
  await catalog.acceptTool('orders_list', again?.definitionDigest ?? '', 'dana')
  await apply({ egress: [{ ...egress[0], paths: ['/v1', '/v2'] }] })
  expect(await look()).toMatchObject([
    {
      review: 'changed',
      changes: [
        { path: '/destination/0/paths/1', after: '/v2' },
        { path: '/anywhere', before: true, after: false },
      ],
    },
  ])
})

test('a moved destination makes every tool of the source unreviewed, at once, with the move shown', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  await catalog.discover('orders', async () => [tool('list')])
  const egress = [{ host: 'api.example.com', methods: ['GET'], paths: ['/v1'] }]
  await catalog.apply(config({ sources: { orders: spec({ egress }) } }), 'file')
  const [found] = await catalog.listTools()
  expect(found?.review).toBe('changed')
  expect(found?.changes).toMatchObject([{ path: '/destination/0', after: { host: 'api.example.com' } }])
  await catalog.apply(config(), 'file')
  expect((await catalog.listTools())[0]?.review).toBe('accepted')
})

test('a vanished tool is missing and keeps what was decided about it', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  await catalog.discover('orders', async () => [tool('list'), tool('drop')])
  await catalog.setToolEnabled('orders_drop', false, 'dana')
  await catalog.discover('orders', async () => [tool('list')])
  expect((await catalog.latest()).tools.get('orders_drop')).toMatchObject({
    available: false,
    enabled: false,
  })
  await catalog.discover('orders', async () => [tool('list'), tool('drop')])
  expect((await catalog.latest()).tools.get('orders_drop')).toMatchObject({ available: true, enabled: false })
})

test.each([
  [
    'that throws',
    async () => Promise.reject(new AppError('source_crashed', 'The source ended.')),
    'source_crashed',
  ],
  ['with foreign text', async () => Promise.reject(new Error('secret-from-elsewhere')), 'internal'],
  ['without tools where there were some', async () => [], 'source_invalid_output'],
  ['of one name twice', async () => [tool('a'), tool('a')], 'source_invalid_output'],
])('a discovery %s changes nothing but what it says about itself', async (_, list, code) => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  await catalog.discover('orders', async () => [tool('list')])
  const before = await catalog.latest()
  await expect(catalog.discover('orders', list)).rejects.toMatchObject({ code })
  expect(await catalog.latest()).toEqual(before)
  const [source] = await catalog.listSources()
  expect(source?.discoveryError).toMatch(/\w/)
  const [event] = await listEvents(store.db, { limit: 1 })
  expect(event).toMatchObject({ kind: 'source.discovery_failed', data: { sourceId: 'orders', code } })
  expect(JSON.stringify([source, event])).not.toContain('secret-from-elsewhere')
})

test('a source reconfigured while it is discovered keeps nothing of that discovery', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  const discovery = catalog.discover('orders', async () => {
    await catalog.apply(config({ sources: { orders: spec({ command: 'other' }) } }), 'file')
    return [tool('list')]
  })
  await expect(discovery).rejects.toMatchObject({ code: 'conflict' })
  expect(await catalog.listTools()).toEqual([])
})

test('tools that cannot be offered are told to the operator', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  const { refused } = await catalog.discover('orders', async () => [tool('list'), { name: 'odd' }])
  expect(refused).toEqual([{ name: 'odd', reason: 'its inputSchema is not an object' }])
  expect((await catalog.listSources())[0]?.discoveryError).toBe(
    'Left out: odd: its inputSchema is not an object.',
  )
})

test('discoveries racing for one alias both win, with different aliases', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config({ sources: { a: spec(), 'a-b': spec() } }), 'file')
  await Promise.all([
    catalog.discover('a', async () => [tool('b.c')]),
    catalog.discover('a-b', async () => [tool('c')]),
  ])
  const aliases = (await catalog.listTools()).map((found) => found.alias)
  expect(aliases).toHaveLength(2)
  expect(aliases).toContain('a_b_c')
})

test('a definition reaches clients as the source wrote it, order of members included', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  await catalog.apply(config(), 'file')
  const definition = {
    name: 'list',
    zeta: 1,
    inputSchema: {
      type: 'object',
      properties: { z: {}, a: { default: 1.0, description: '\u0000 \ud83e\udd80' } },
    },
    alpha: null,
  }
  await catalog.discover('orders', async () => [definition])
  const stored = (await catalog.latest()).tools.get('orders_list')?.definition
  expect(JSON.stringify(stored)).toBe(JSON.stringify(definition))
})

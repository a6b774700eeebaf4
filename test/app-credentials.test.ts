import { expect, test } from 'vitest'
import { adminCredentials } from '../src/app-credentials.ts'
import { createCatalog, sourceSpec } from '../src/catalog/index.ts'
import { Secret, silentLog } from '../src/core/index.ts'
import { publishEgressKey } from '../src/store/index.ts'
import { createVault, generateSealingKey } from '../src/vault/index.ts'
import { testStore } from './support/database.ts'

const inject = [{ credential: 'ORDERS_TOKEN', into: 'header:authorization' }]
const rule = { host: 'api.example.com', methods: ['GET'], paths: ['/'], inject }
const spec = (more: object = {}) =>
  sourceSpec.parse({ kind: 'stdio', command: 'orders', egress: [rule], ...more })
const minted = {
  ORDERS_TOKEN: {
    kind: 'oauth_refresh_token',
    token_url: 'https://auth.example.com/token',
    client_id: 'toolcrib',
    refresh_token: 'ORDERS_REFRESH',
    client_secret: 'ORDERS_SECRET',
  },
}

test('a value for what is minted is refused with what it is made from, unless some source has it stored', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const key = await generateSealingKey()
  await publishEgressKey(store.db, { id: key.id, publicKey: key.publicKey })
  const credentials = adminCredentials({ catalog, vault: createVault({ store, log: silentLog }) })
  const set = (name: string) => credentials.seal(name, 'global', '', new Secret('s3cret-value'), 'test')
  const apply = (sources: Record<string, ReturnType<typeof spec>>) =>
    catalog.apply({ sources, toolkits: {}, rules: [] }, 'test')

  await apply({ orders: spec({ minted }) })
  await expect(set('ORDERS_TOKEN')).rejects.toMatchObject({
    code: 'invalid_input',
    message: expect.stringMatching(/ORDERS_TOKEN is minted.*made from: ORDERS_REFRESH and ORDERS_SECRET$/),
  })
  await set('ORDERS_REFRESH')
  // A name is one source's token and another's stored value.
  await apply({ orders: spec({ minted }), other: spec() })
  await set('ORDERS_TOKEN')
  // Nor does a source that is gone say what a name means.
  await apply({})
  await set('ORDERS_TOKEN')
  expect((await credentials.list()).map(({ name }) => name)).toEqual(['ORDERS_REFRESH', 'ORDERS_TOKEN'])
})

test('a look at a name says which enabled sources read it, or what comes close, and refuses as setting it would', async () => {
  await using store = await testStore()
  const catalog = createCatalog({ store, log: silentLog })
  const credentials = adminCredentials({ catalog, vault: createVault({ store, log: silentLog }) })
  const look = (name: string, scopeId = '') =>
    credentials.lookAt({ name, scope: scopeId === '' ? 'global' : 'principal', scopeId })
  await catalog.apply(
    { sources: { orders: spec({ minted }), other: spec() }, toolkits: {}, rules: [] },
    'test',
  )

  await expect(look('ORDERS_SECRET')).rejects.toMatchObject({ code: 'unavailable' })
  const key = await generateSealingKey()
  await publishEgressKey(store.db, { id: key.id, publicKey: key.publicKey })
  expect(await look('ORDERS_SECRET')).toEqual({ readBy: ['orders'], near: [] })
  expect(await look('ORDERS_TOKEN')).toEqual({ readBy: ['other'], near: [] })
  expect(await look('ORDER_SECRET')).toEqual({ readBy: [], near: ['ORDERS_SECRET'] })
  await expect(look('ORDERS_SECRET', 'prn_nobody')).rejects.toMatchObject({ code: 'not_found' })
  await catalog.apply({ sources: { orders: spec({ minted }) }, toolkits: {}, rules: [] }, 'test')
  await expect(look('ORDERS_TOKEN')).rejects.toMatchObject({ code: 'invalid_input' })
  // Nor does a source that is gone read anything.
  await catalog.apply({ sources: {}, toolkits: {}, rules: [] }, 'test')
  expect(await look('ORDERS_SECRET')).toEqual({ readBy: [], near: [] })
})

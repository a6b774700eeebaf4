import { expect, test } from 'vitest'
import { createAdminKeys } from '../../src/access/index.ts'
import { composeKey, mintKeyId, mintSecret } from '../../src/access/token.ts'
import { type AdminKeyId, silentLog } from '../../src/core/index.ts'
import { listEvents } from '../../src/store/index.ts'
import { dumpDatabase } from '../support/access.ts'
import { testStore } from '../support/database.ts'

const here = '192.0.2.7'

test('replicas that start together make one first admin key, and only its maker sees it', async () => {
  await using store = await testStore()
  const replicas = Array.from({ length: 6 }, () => createAdminKeys({ store, log: silentLog }))
  const shown = await Promise.all(replicas.map((keys) => keys.ensureFirst()))
  const keys = shown.filter((key) => key !== undefined)
  expect(keys).toHaveLength(1)
  const text = keys[0]?.reveal() ?? ''
  expect(text).toMatch(/^tca_/)
  expect(await replicas[3]?.verify(text, here)).toMatchObject({ name: 'first' })
  expect(await dumpDatabase(store)).not.toContain(text.slice(17))
  expect(await replicas[0]?.ensureFirst()).toBeUndefined()
})

test('a revoked key is refused at once everywhere, and the last one cannot be revoked', async () => {
  await using store = await testStore()
  await using one = createAdminKeys({ store, log: silentLog })
  await using two = createAdminKeys({ store, log: silentLog })
  const first = await one.ensureFirst()
  const { id, key } = await one.create('laptop', 'admin first')
  await two.verify(key.reveal(), here)
  await one.revoke(id, 'admin first')
  await one.revoke(id, 'admin first')
  await expect(two.verify(key.reveal(), here)).rejects.toThrow('The admin key laptop was revoked.')
  const listed = await one.list()
  expect(listed.map((row) => [row.name, row.revokedAt === null])).toEqual([
    ['first', true],
    ['laptop', false],
  ])
  await expect(one.revoke(listed[0]?.id as AdminKeyId, 'x')).rejects.toMatchObject({ code: 'conflict' })
  await one.verify(first?.reveal(), here)
  await expect(one.revoke('adm_none' as AdminKeyId, 'x')).rejects.toMatchObject({ code: 'not_found' })
})

test('wrong keys are refused, audited, and limited by address; a key known to be right passes by', async () => {
  await using store = await testStore()
  await using keys = createAdminKeys({ store, log: silentLog })
  const right = (await keys.ensureFirst())?.reveal()
  await keys.verify(right, here)
  const unauthenticated = { code: 'unauthenticated' }
  await expect(keys.verify(undefined, here)).rejects.toMatchObject(unauthenticated)
  await expect(keys.verify(`${right}x`, here)).rejects.toThrow(/not a whole admin key/)
  const id = (right ?? '').split('_')[1] ?? ''
  for (let i = 0; i < 20; i++) {
    const wrong = composeKey('tca', i % 2 === 0 ? id : mintKeyId(), mintSecret()).reveal()
    await expect(keys.verify(wrong, here)).rejects.toMatchObject(unauthenticated)
  }
  const more = composeKey('tca', id, mintSecret()).reveal()
  await expect(keys.verify(more, here)).rejects.toMatchObject({ code: 'rate_limited' })
  await keys.verify(right, here)
  await keys[Symbol.asyncDispose]()
  expect((await keys.list())[0]?.lastUsedAt).toBeInstanceOf(Date)
  expect(await listEvents(store.db, { kind: 'admin.refused', limit: 50 })).toHaveLength(10)
})

test('while the database cannot be asked no key is good, and the cure is named: the doctor cannot say it', async () => {
  await using store = await testStore()
  await using keys = createAdminKeys({ store, log: silentLog })
  const right = (await keys.ensureFirst())?.reveal()
  await store.pool.query('ALTER TABLE admin_keys RENAME TO away')
  await expect(keys.verify(right, here)).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('Is DATABASE_URL right, and does PostgreSQL run?'),
  })
})

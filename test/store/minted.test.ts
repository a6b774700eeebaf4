import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { type CredentialId, newId } from '../../src/core/index.ts'
import {
  publishEgressKey,
  putCredential,
  putMintedToken,
  retireMintedToken,
  type Store,
  searchableTokens,
} from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

const minute = 60_000

async function deployment(store: Store) {
  const credentialId: CredentialId = newId('crd')
  await publishEgressKey(store.db, { id: 'ek_1', publicKey: 'public' })
  const row = { id: credentialId, name: 'CLIENT_SECRET', scope: 'global', scopeId: '' } as const
  await putCredential(store.db, { ...row, keyId: 'ek_1', sealed: 'value', by: 'test' })
  /** Each a minute after the one before. */
  const put = async (sealed: string, { id = 'id', recipe = 'recipe', searchedMs = 60 * minute } = {}) => {
    for (const table of ['minted_tokens', 'former_tokens'] as const)
      await store.db
        .updateTable(table)
        .set({ minted_at: sql<Date>`minted_at - interval '1 minute'` })
        .execute()
    const token = { id, credentialId, recipe, keyId: 'ek_1', sealed, renewMs: minute, searchedMs }
    await store.db.transaction().execute(async (tx) => await putMintedToken(tx, token))
  }
  const search = async ({ id = 'id', recipe = 'recipe' } = {}) =>
    (await searchableTokens(store.db, { id, credentialId, recipe })).map(({ sealed }) => sealed)
  const facts = async () => await searchableTokens(store.db, { id: 'id', credentialId, recipe: 'recipe' })
  return { put, search, facts }
}

const named = (name: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => `${name} ${to - i}`)

test('of the tokens that are made from the same the fifty newest are kept, whoever else uses the credential', async () => {
  await using store = await testStore()
  const { put, search } = await deployment(store)
  const other = { id: 'other', recipe: 'another recipe' }
  for (let i = 0; i < 3; i++) await put(`other ${i}`, other)
  for (let i = 0; i < 60; i++) await put(`token ${i}`)
  expect(await search()).toEqual(named('token', 10, 59))
  expect(await search(other)).toEqual(named('other', 0, 2))
  const { count } = await store.db
    .selectFrom('former_tokens')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  expect(count).toBe(52)
})

test('the token to hand out is found, however many newer ones were made with another value', async () => {
  await using store = await testStore()
  const { put, search } = await deployment(store)
  await put('old value', { id: 'old' })
  for (let i = 0; i < 60; i++) await put(`token ${i}`)
  expect((await search({ id: 'old' }))[0]).toBe('old value')
  expect(await search()).not.toContain('old value')
})

test('a token that ended is forgotten with the next that is kept', async () => {
  await using store = await testStore()
  const { put, search } = await deployment(store)
  await put('short', { searchedMs: 1 })
  await put('longer')
  expect(await search()).toEqual(['longer'])
  expect(await store.db.selectFrom('former_tokens').selectAll().execute()).toEqual([])
})

test('a token that an upstream refuses is handed out by no proxy any more and still searched for, and no other is', async () => {
  await using store = await testStore()
  const { put, facts } = await deployment(store)
  await put('former')
  await put('token')
  const [before] = await facts()
  expect(before?.freshMs).toBeGreaterThan(0)
  // A former one is told of late, and another proxy has renewed it since.
  await retireMintedToken(store.db, 'id', 'former')
  await retireMintedToken(store.db, 'other', 'token')
  expect((await facts())[0]?.freshMs).toBeGreaterThan(0)
  await retireMintedToken(store.db, 'id', 'token')
  const [token, former] = await facts()
  expect([token?.sealed, former?.sealed]).toEqual(['token', 'former'])
  expect(token?.freshMs).toBeLessThanOrEqual(0)
  expect(token?.endsMs).toBeGreaterThan(0)
})

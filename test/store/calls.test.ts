import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { newId, type PrincipalId, type ReplicaId, type TokenId } from '../../src/core/index.ts'
import {
  callStanding,
  catalogVersion,
  createCallRows,
  listEvents,
  recordCall,
  type Store,
} from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

async function newCall(store: Store) {
  const [principalId, tokenId] = [newId('prn') as PrincipalId, newId('tok') as TokenId]
  await sql`INSERT INTO principals (id, kind, name) VALUES (${principalId}, 'system', 's')`.execute(store.db)
  await sql`INSERT INTO tokens (id, principal_id, secret_hash, pepper_id, expires_at)
    VALUES (${tokenId}, ${principalId}, 'h', 'p', now() + interval '1 day')`.execute(store.db)
  return {
    id: newId('call'),
    principalId,
    tokenId,
    toolkit: null,
    alias: 'a',
    sourceId: null,
    tool: null,
    definitionDigest: null,
    argumentsDigest: 'd',
    rule: 'r',
    client: null,
    replicaId: newId('rep') as ReplicaId,
    runnerId: null,
    generation: null,
  }
}
const end = (outcome: 'ok' | 'failed') => ({ outcome, code: null, event: { outcome } })
const proof = (catalogVersion: number) => ({ catalogVersion, secretHash: null })
const outcomes = async (store: Store) =>
  (await listEvents(store.db, { limit: 9 })).map(({ data }) => data['outcome'])

test('invariant 11: an outcome reported twice, or two outcomes, are recorded once: the first', async () => {
  await using store = await testStore()
  const rows = createCallRows(store.pool)
  const call = await newCall(store)
  expect(await rows.begin(call, proof(await catalogVersion(store.db)))).toBe(true)
  expect(await rows.finish(call.id, end('ok'))).toBe(true)
  expect(await rows.finish(call.id, end('ok'))).toBe(false)
  expect(await rows.finish(call.id, end('failed'))).toBe(false)
  expect(await recordCall(store.pool, call, end('failed'))).toBe(false)
  expect(await outcomes(store)).toEqual(['ok'])
})

test('a call whose beginning got no answer is closed by its record, whether its row was there or comes later', async () => {
  await using store = await testStore()
  const rows = createCallRows(store.pool)
  const version = await catalogVersion(store.db)
  const [there, later] = [await newCall(store), await newCall(store)]
  await rows.begin(there, proof(version))
  expect(await recordCall(store.pool, there, end('failed'))).toBe(true)
  expect(await recordCall(store.pool, later, end('failed'))).toBe(true)
  await expect(rows.begin(later, proof(version))).rejects.toThrow(/duplicate key/)
  expect(await outcomes(store)).toEqual(['failed', 'failed'])
})

test('a token that does not exist, or is another principal’s, begins nothing', async () => {
  await using store = await testStore()
  const rows = createCallRows(store.pool)
  const version = await catalogVersion(store.db)
  const [one, other] = [await newCall(store), await newCall(store)]
  expect(await rows.begin({ ...one, tokenId: other.tokenId }, proof(version))).toBe(false)
  expect(await rows.begin(one, proof(version + 1))).toBe(false)
  expect(await callStanding(store.db, 'tok_none' as TokenId)).toEqual({
    token: 'token_unknown',
    catalogVersion: version,
  })
})

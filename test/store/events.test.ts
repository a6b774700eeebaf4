import { expect, test } from 'vitest'
import { newId, type PrincipalId, type TokenId } from '../../src/core/index.ts'
import { appendEvents, listEvents, type Store } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

async function addCall(store: Store, principalId: PrincipalId) {
  const id = newId('call')
  await store.db
    .insertInto('calls')
    .values({
      id,
      principal_id: principalId,
      token_id: 'tok_1' as TokenId,
      alias: 'orders_list',
      arguments_digest: 'd',
      rule: 'default',
      replica_id: newId('rep'),
      state: 'running',
    })
    .execute()
  return id
}

test('the events of a call include the egress requests made while it and others were in flight', async () => {
  await using store = await testStore()
  const principalId = newId('prn')
  await store.db.insertInto('principals').values({ id: principalId, kind: 'system', name: 'x' }).execute()
  await store.pool.query(
    `INSERT INTO tokens (id, principal_id, secret_hash, pepper_id, expires_at) VALUES ('tok_1', $1, 'h', 'p', now())`,
    [principalId],
  )
  const [a, b, c] = [
    await addCall(store, principalId),
    await addCall(store, principalId),
    await addCall(store, principalId),
  ]
  const denied = (callIds: (typeof a)[]) => ({
    kind: 'egress.denied' as const,
    principalId,
    ...(callIds.length === 1 && callIds[0] !== undefined ? { callId: callIds[0] } : {}),
    data: {
      sourceId: 's',
      runnerId: 'r',
      generation: 1,
      scheme: 'https',
      host: 'h.example',
      port: 443,
      method: 'GET',
      path: '/',
      rule: 'none',
      callIds,
      requestId: 'req_1',
      reason: 'no rule',
    },
  })
  await appendEvents(store.db, [denied([a, b]), denied([b]), denied([c])])
  const count = async (callId: typeof a) => (await listEvents(store.db, { callId, limit: 10 })).length
  expect([await count(a), await count(b), await count(c)]).toEqual([1, 2, 1])
})

import { Readable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { newId, type PrincipalId, type TokenId } from '../../src/core/index.ts'
import {
  appendEvents,
  copyEvents,
  listEvents,
  onConnection,
  type Store,
  type WrittenEvent,
} from '../../src/store/index.ts'
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

test('property: what is copied is read as it was, whatever it is made of', async () => {
  await using store = await testStore()
  // PostgreSQL has no room for NUL in text, and the proxy lets none in.
  const text = fc
    .string({
      unit: fc.oneof(
        fc.constantFrom('\\', '\t', '\n', '\r', '\\N', '\\.', '"'),
        fc.string({ unit: 'binary' }),
      ),
    })
    .map((value) => value.replaceAll('\0', ''))
  const event = fc.record(
    { principalId: text, callId: text, data: fc.record({ path: text, host: text }) },
    { requiredKeys: ['data'] },
  )
  const lastId = async () =>
    (await store.pool.query<{ id: number }>('SELECT coalesce(max(id), 0) AS id FROM events')).rows[0]?.id
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(event, { maxLength: 4 }), { maxLength: 4 }), async (parts) => {
      const before = await lastId()
      const written = parts.map((part) =>
        part.map(({ data, ...ids }) => ({
          kind: 'egress.denied' as const,
          ...ids,
          data: JSON.stringify(data),
        })),
      )
      await onConnection(store.pool, (connection) => copyEvents(connection, Readable.from(written)))
      const { rows } = await store.pool.query(
        'SELECT principal_id, call_id, data FROM events WHERE id > $1 ORDER BY id',
        [before],
      )
      expect(rows).toEqual(
        parts.flat().map(({ principalId = null, callId = null, data }) => ({
          principal_id: principalId,
          call_id: callId,
          data,
        })),
      )
    }),
    { numRuns: 100 },
  )
})

test('a copy whose parts end in an error leaves nothing, and its connection is not used again', async () => {
  await using store = await testStore({ poolSize: 1 })
  const event = { kind: 'egress.denied' as const, data: '{}' }
  const failing = async function* () {
    yield [event]
    throw new Error('no more')
  }
  const unreadable = async function* () {
    yield [event, { ...event, data: 'no JSON' }]
  }
  const copy = (parts: AsyncIterable<WrittenEvent[]>) =>
    onConnection(store.pool, (connection) => copyEvents(connection, parts))
  await expect(copy(failing())).rejects.toThrow('no more')
  await expect(copy(unreadable())).rejects.toThrow('invalid input syntax for type json')
  const { rows } = await store.pool.query('SELECT count(*)::int AS events FROM events')
  expect(rows).toEqual([{ events: 0 }])
})

import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { type CallId, newId, type PrincipalId } from '../../src/core/index.ts'
import { createInFlight } from '../../src/egress/leases/in-flight.ts'
import type { Identity } from '../../src/egress/leases/leases.ts'
import { onConnection } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

test('a request belongs to the calls that ran when it was made, however long or short they are', async () => {
  await using store = await testStore()
  const inFlight = createInFlight({ lookMaxAgeMs: 500 })
  const principalId = newId('prn')
  const begin = async (call: { principalId?: PrincipalId; source?: string; secondsAgo?: number } = {}) => {
    const id = newId('call')
    await store.db
      .insertInto('calls')
      .values({
        id,
        principal_id: call.principalId ?? principalId,
        token_id: newId('tok'),
        alias: 'a',
        source_id: call.source ?? 'orders',
        arguments_digest: 'd',
        rule: 'r',
        replica_id: newId('rep'),
        state: 'running',
        started_at: sql<Date>`now() - make_interval(secs => ${call.secondsAgo ?? 0})`,
      })
      .execute()
    return id
  }
  const end = (id: CallId) =>
    store.db
      .updateTable('calls')
      .set({ state: 'finished', outcome: 'ok', finished_at: sql<Date>`now()` })
      .where('id', '=', id)
      .execute()

  const long = await begin({ secondsAgo: 3_600 })
  const over = await begin({ secondsAgo: 3_600 })
  await end(over)
  const elsewhere = await begin({ source: 'other' })
  const stranger = newId('prn')
  const theirs = await begin({ principalId: stranger })
  const identity = { principalId, sourceId: 'orders', callIds: [long, over] as CallId[] } as Identity
  const made = () => ({ at: performance.now(), identity })
  await sleep(20)
  const short = await begin()
  const requests = [made()]
  await end(short)
  await sleep(20)
  requests.push(made())
  await sleep(20)
  const after = await begin()
  requests.push(made())
  requests.push({ at: performance.now(), identity: { ...identity, sourceId: 'other', callIds: [] } })
  requests.push({ at: performance.now(), identity: { ...identity, principalId: stranger, callIds: [] } })
  // All of them are asked about at once, afterwards.
  await sleep(60)
  const answers = await onConnection(store.pool, (connection) => inFlight.at(connection, requests))
  expect(answers).toEqual([[long, short], [long], [long, after], [elsewhere], [theirs]])
})

test('calls that cannot be read are an error, and not none', async () => {
  await using store = await testStore()
  const inFlight = createInFlight({ lookMaxAgeMs: 500 })
  await store.pool.query('ALTER TABLE calls RENAME TO calls_away')
  const identity = { principalId: newId('prn'), sourceId: 'orders', callIds: [newId('call')] } as unknown
  const requests = [{ at: performance.now(), identity: identity as Identity }]
  await expect(onConnection(store.pool, (connection) => inFlight.at(connection, requests))).rejects.toThrow(
    /does not exist/,
  )
})

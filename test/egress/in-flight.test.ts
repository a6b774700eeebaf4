import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { type CallId, newId, type PrincipalId, silentLog } from '../../src/core/index.ts'
import { createInFlight } from '../../src/egress/leases/in-flight.ts'
import type { Identity } from '../../src/egress/leases/leases.ts'
import { testStore } from '../support/database.ts'

test('a request belongs to the calls that ran when it was made, however long or short they are', async () => {
  await using store = await testStore()
  const inFlight = createInFlight({ store, delayMs: 60, lookMaxAgeMs: 500, log: silentLog })
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
  const at = (asked: Identity) => new Promise<CallId[]>((resolve) => inFlight.now(asked, resolve))
  const identity = (callIds: CallId[] = []) => ({ principalId, sourceId: 'orders', callIds }) as Identity

  const long = await begin({ secondsAgo: 3_600 })
  const over = await begin({ secondsAgo: 3_600 })
  await end(over)
  await begin({ source: 'other' })
  await begin({ principalId: newId('prn') })
  await sleep(20)
  const short = await begin()
  const first = at(identity([long, over]))
  await end(short)
  await sleep(20)
  const second = at(identity([long, over]))
  await sleep(20)
  const after = await begin()
  expect(await first).toEqual([long, short])
  expect(await second).toEqual([long])
  expect(await at(identity([long, over]))).toEqual([long, after])

  // Not worth a word to whoever stops.
  const last = at(identity([long]))
  await inFlight.close()
  expect(await last).toEqual([long, after])
  expect(await at(identity([long]))).toEqual([])
})

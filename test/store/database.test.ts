import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { createLog, silentLog } from '../../src/core/index.ts'
import { copyEvents, onConnection, openStore, type WrittenEvent } from '../../src/store/index.ts'
import { cutOff, testStore } from '../support/database.ts'
import { relayTo } from '../support/database-relay.ts'

test('invariant 14: a connection that breaks between two statements of a transaction fails that and ends nothing', async () => {
  await using owner = await testStore()
  const lines: string[] = []
  const log = createLog({ level: 'debug', name: 't' }, { write: (line) => void lines.push(line) })
  await using store = openStore({ url: owner.url, poolSize: 4, log })
  // One more that is idle when the database goes.
  await Promise.all([1, 2].map(() => sql`SELECT pg_sleep(0.05)`.execute(store.db)))
  const broken = store.db.transaction().execute(async (trx) => {
    await sql`SELECT 1`.execute(trx)
    await (await cutOff(owner))[Symbol.asyncDispose]()
    await new Promise((heard) => setTimeout(heard, 200))
    await sql`SELECT 2`.execute(trx)
  })
  await expect(broken).rejects.toThrow(/terminat|connection|not queryable/i)
  expect((await sql`SELECT 3 AS three`.execute(store.db)).rows).toEqual([{ three: 3 }])
  // A leave that was taken is no fault: one line for all that were idle, without a stack.
  const left = lines.filter((line) => line.includes('closed our connections'))
  expect(left.map((line) => JSON.parse(line) as object)).toEqual([
    expect.objectContaining({ level: 30, reason: expect.stringMatching(/administrator/) }),
  ])
  // Not the connection with its keys and settings, which the pool hangs on its errors.
  for (const line of lines) expect(line.length).toBeLessThan(3_000)
})

test('a query to a database that stopped answering fails, and a later one is served', async () => {
  await using owner = await testStore()
  await using relay = await relayTo(owner.url)
  await using store = openStore({ url: relay.url, poolSize: 2, log: silentLog, queryMs: 500 })
  await sql`SELECT 1`.execute(store.db)
  relay.silence()
  const since = performance.now()
  await expect(store.pool.query('SELECT 2')).rejects.toThrow(/said nothing for 1.5 s|terminated/)
  expect(performance.now() - since).toBeGreaterThan(1_000)
  expect((await sql`SELECT 3 AS three`.execute(store.db)).rows).toEqual([{ three: 3 }])
  // By the server's clock, while it answers.
  await expect(store.pool.query('SELECT pg_sleep(5)')).rejects.toThrow(/statement timeout/)
})

test('a copy into a database that stopped answering, or one that never ends, fails, and leaves nothing', async () => {
  await using owner = await testStore()
  await using relay = await relayTo(owner.url)
  await using store = openStore({ url: relay.url, poolSize: 2, log: silentLog, queryMs: 500 })
  const part = [{ kind: 'egress.denied' as const, data: '{}' }]
  const copy = (parts: AsyncIterable<WrittenEvent[]>) =>
    onConnection(store.pool, (connection) => copyEvents(connection, parts))
  const muted = async function* () {
    yield part
    await sleep(50)
    relay.silence()
    yield part
  }
  await expect(copy(muted())).rejects.toThrow(/said nothing for 1.5 s|terminated/)
  const endless = async function* () {
    for (;;) {
      yield part
      await sleep(50)
    }
  }
  await expect(copy(endless())).rejects.toThrow(/statement timeout/)
  const { rows } = await store.pool.query('SELECT count(*)::int AS events FROM events')
  expect(rows).toEqual([{ events: 0 }])
})

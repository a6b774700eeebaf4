import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { type AuditEvent, createLog, type Log, newId, silentLog } from '../../src/core/index.ts'
import { createInFlight } from '../../src/egress/leases/in-flight.ts'
import type { Identity } from '../../src/egress/leases/leases.ts'
import { createMetrics } from '../../src/egress/records/metrics.ts'
import { createRecorder, type Recorder } from '../../src/egress/records/record.ts'
import { openStore, type Store } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'

const delayMs = 50
const replicaId = newId('rep')

function recorderOf(
  store: Store,
  log: Log = silentLog,
  bounds: { maxQueued?: number; maxQueuedPerPrincipal?: number; roomMs?: number } = {},
) {
  return createRecorder({
    store,
    inFlight: createInFlight({ lookMaxAgeMs: 500 }),
    metrics: createMetrics(),
    replicaId,
    log,
    delayMs,
    patienceMs: 5_000,
    roomMs: 2_000,
    maxQueued: 20_000,
    maxQueuedPerPrincipal: 20_000,
    ...bounds,
  })
}

const refusal = (): Extract<AuditEvent, { kind: 'egress.denied' }> => ({
  kind: 'egress.denied',
  data: {
    requestId: newId('egr'),
    sourceId: 'orders',
    runnerId: null,
    generation: null,
    scheme: 'https',
    host: 'api.example.com',
    port: 443,
    method: 'GET',
    path: '/',
    rule: 'default',
    reason: 'host_not_allowed',
    callIds: [],
  },
})

/** How many records each statement wrote, by the time of its transaction. */
async function batches(store: Store): Promise<number[]> {
  const rows = await store.db
    .selectFrom('events')
    .select(({ fn }) => fn.countAll<number>().as('records'))
    .groupBy('at')
    .orderBy('at')
    .execute()
  return rows.map(({ records }) => Number(records))
}
const sum = (numbers: number[]) => numbers.reduce((all, each) => all + each, 0)

test('records that come one after the other share a batch for each delay', async () => {
  await using store = await testStore()
  const recorder = recorderOf(store)
  const began = performance.now()
  let made = 0
  for (; performance.now() - began < 500; made += 1) {
    recorder.denied(refusal())
    await sleep(1)
  }
  await recorder.close(5_000)
  const written = await batches(store)
  expect(sum(written)).toBe(made)
  expect(written.length).toBeLessThanOrEqual((performance.now() - began) / delayMs + 1)
})

test('more records than a batch has room for are all written, in full batches', async () => {
  await using store = await testStore()
  const recorder = recorderOf(store)
  for (let i = 0; i < 1_200; i += 1) recorder.denied(refusal())
  while (recorder.waiting > 0) await sleep(5)
  expect(await batches(store)).toEqual([500, 500, 200])
  await recorder.close(5_000)
})

test('a batch whose connection is cut half-way is written whole, each record once, with one line', async () => {
  await using store = await testStore()
  const lines: string[] = []
  const log = createLog({ level: 'warn', name: 'egress' }, { write: (text) => void lines.push(text) })
  const recorder = recorderOf(store, log)
  // By a connection of its own: one of the pool's might be the one that is cut.
  await using knife = openStore({ url: store.url, poolSize: 1, log: silentLog })
  const cut = async () => {
    const copies = sql<{ pid: number }>`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY events%'`
    return (await copies.execute(knife.db)).rows.length
  }
  const made: string[] = []
  let cuts = 0
  while (cuts < 20) {
    const event = refusal()
    recorder.denied(event)
    made.push(event.data.requestId)
    await sleep(1)
    cuts += await cut()
  }
  await recorder.close(10_000)
  const rows = await store.db.selectFrom('events').select('data').execute()
  const written = rows.map(({ data }) => data['requestId'] as string)
  expect(new Set(written)).toEqual(new Set(made))
  // The end of a copy that was cut right then cannot be known, and it is sent again (decision 0005).
  expect(written.length - made.length).toBeLessThan(made.length / 2)
  expect(lines.filter((line) => line.includes('records could not be written')).length).toBeGreaterThan(0)
  expect(lines.filter((line) => line.includes('egress decision'))).toHaveLength(made.length)
})

/** One person's running call, and requests that are made for it. */
async function running(store: Store, recorder: Recorder) {
  const principalId = newId<'prn'>('prn')
  const call = newId('call')
  await store.db
    .insertInto('calls')
    .values({
      id: call,
      principal_id: principalId,
      token_id: newId('tok'),
      alias: 'a',
      source_id: 'orders',
      arguments_digest: 'd',
      rule: 'r',
      replica_id: newId('rep'),
      state: 'running',
    })
    .execute()
  const identity = { principalId, sourceId: 'orders', callIds: [call] } as unknown as Identity
  const open = (path: string) => {
    const { reason: _, ...facts } = refusal().data
    const data = { ...facts, path, addressClass: 'public', credentials: [], outcome: null }
    return recorder.allowed({ kind: 'egress.allowed', principalId, data }, identity)
  }
  return { call, open }
}

test('records name their calls however often the database goes away before they are written', async () => {
  await using store = await testStore()
  const lines: string[] = []
  const log = createLog({ level: 'warn', name: 'egress' }, { write: (text) => void lines.push(text) })
  const recorder = recorderOf(store, log)
  const { call, open } = await running(store, recorder)
  await using knife = openStore({ url: store.url, poolSize: 1, log: silentLog })
  // Connections are cut wherever they are: before calls are read, before records are written, and between the two.
  const cut = async () => {
    const all = sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid()`
    return (await all.execute(knife.db)).rows.length
  }
  let made = 0
  for (let cuts = 0; cuts < 60; made += 1) {
    open(`/${made}`)
    await sleep(2 + (made % 20))
    cuts += await cut()
  }
  await recorder.close(10_000)
  const rows = await store.db.selectFrom('events').select(['call_id', 'data']).execute()
  expect(new Set(rows.map(({ data }) => data['path']))).toEqual(
    new Set(Array.from({ length: made }, (_, i) => `/${i}`)),
  )
  for (const { call_id, data } of rows) expect([call_id, data['callIds']]).toEqual([call, [call]])
  expect(lines.join('')).not.toContain('could not be joined')
})

test('records are written without their calls where those alone cannot be read', async () => {
  await using store = await testStore()
  const lines: string[] = []
  const log = createLog({ level: 'warn', name: 'egress' }, { write: (text) => void lines.push(text) })
  const recorder = recorderOf(store, log)
  const { open } = await running(store, recorder)
  await store.pool.query('ALTER TABLE calls RENAME TO calls_away')
  open('/unread')
  await recorder.close(5_000)
  const rows = await store.db.selectFrom('events').select(['call_id', 'data']).execute()
  expect(rows.map(({ call_id, data }) => [data['path'], call_id, data['callIds']])).toEqual([
    ['/unread', null, []],
  ])
  expect(lines.filter((line) => line.includes('could not be joined to their calls'))).toHaveLength(1)
})

test('a request has one line, with how it ended, whether its row was written before that or after', async () => {
  await using store = await testStore()
  const lines: string[] = []
  const log = createLog({ level: 'info', name: 'egress' }, { write: (text) => void lines.push(text) })
  const recorder = recorderOf(store, log)
  const principalId = newId<'prn'>('prn')
  const identity = { principalId, sourceId: 'orders', callIds: [] } as unknown as Identity
  const open = (path: string) => {
    const { data } = refusal()
    const { reason: _, ...facts } = data
    return recorder.allowed(
      {
        kind: 'egress.allowed',
        principalId,
        data: { ...facts, path, addressClass: 'public', credentials: [], outcome: null },
      },
      identity,
    )
  }
  const outcome = { status: 200, bytesIn: 1, bytesOut: 2, redactions: 0, failure: null }
  const long = open('/long')
  open('/short').finish(outcome)
  while (recorder.waiting > 0) await sleep(5)
  long.finish(outcome)
  long.finish({ ...outcome, failure: 'client_closed' })
  await recorder.close(5_000)
  const written = lines.join('').trimEnd().split('\n')
  expect(written.map((line) => JSON.parse(line) as unknown)).toEqual([
    expect.objectContaining({ path: '/short', principalId, outcome }),
    expect.objectContaining({ path: '/long', principalId, outcome }),
  ])
  const rows = await store.db.selectFrom('events').select(['kind', 'data']).orderBy('id').execute()
  expect(rows).toEqual([
    {
      kind: 'egress.allowed',
      data: expect.objectContaining({ path: '/long', outcome: null, replicaId }) as object,
    },
    { kind: 'egress.allowed', data: expect.objectContaining({ path: '/short', outcome }) as object },
    { kind: 'egress.finished', data: expect.objectContaining(outcome) as object },
  ])
  // Who has it is said of one that goes on.
  expect(rows.map(({ data }) => 'replicaId' in data)).toEqual([true, false, false])
})

test('nothing is let out of a person, or of anybody, of whom too many records wait, until they are written', async () => {
  await using store = await testStore()
  const recorder = recorderOf(store, silentLog, { maxQueued: 5, maxQueuedPerPrincipal: 2 })
  const [alice, bob] = [newId('prn'), newId('prn')]
  const refuse = (principalId: typeof alice) => recorder.denied({ ...refusal(), principalId })
  const healthy = () => [alice, bob].map((who) => recorder.healthy(who))
  // With the table away they stay in the queue; it is only at five seconds that age alone would count.
  await store.pool.query('ALTER TABLE events RENAME TO events_away')
  for (let i = 0; i < 2; i += 1) refuse(alice)
  expect(healthy()).toEqual([true, true])
  refuse(alice)
  expect(healthy()).toEqual([false, true])
  for (let i = 0; i < 2; i += 1) refuse(bob)
  expect(healthy()).toEqual([false, true])
  recorder.denied(refusal())
  expect(healthy()).toEqual([false, false])
  await store.pool.query('ALTER TABLE events_away RENAME TO events')
  await expect.poll(healthy, { timeout: 10_000 }).toEqual([true, true])
  await recorder.close(5_000)
})

test('whoever asks for room waits until records are written, adds none meanwhile, and is refused when none comes', async () => {
  await using store = await testStore()
  const recorder = recorderOf(store, silentLog, { maxQueuedPerPrincipal: 2, roomMs: 300 })
  const alice = newId('prn')
  expect(recorder.room(alice)).toBe(true)
  await store.pool.query('ALTER TABLE events RENAME TO events_away')
  for (let i = 0; i < 3; i += 1) recorder.denied({ ...refusal(), principalId: alice })
  expect(recorder.room(newId('prn'))).toBe(true)
  expect(await recorder.room(alice)).toBe(false)
  const asked = Array.from({ length: 200 }, async () => await recorder.room(alice))
  expect(recorder.waiting).toBe(3)
  await store.pool.query('ALTER TABLE events_away RENAME TO events')
  expect(new Set(await Promise.all(asked))).toEqual(new Set([true]))
  await recorder.close(5_000)
  expect(await recorder.room(alice)).toBe(false)
})

test('of refusals that cannot be written no more are kept than twice what may wait, and the rest are counted', async () => {
  await using store = await testStore()
  const recorder = recorderOf(store, silentLog, { maxQueued: 20, maxQueuedPerPrincipal: 2 })
  const [alice, bob] = [newId('prn'), newId('prn')]
  await store.pool.query('ALTER TABLE events RENAME TO events_away')
  for (let i = 0; i < 100; i += 1) recorder.denied({ ...refusal(), principalId: alice })
  expect(recorder.waiting).toBe(5)
  recorder.denied({ ...refusal(), principalId: bob })
  expect(recorder.waiting).toBe(6)
  await store.pool.query('ALTER TABLE events_away RENAME TO events')
  await expect.poll(() => recorder.waiting, { timeout: 10_000 }).toBe(0)
  const { data } = refusal()
  recorder.denied({ kind: 'egress.denied', principalId: alice, data: { ...data, suppressed: 7 } })
  recorder.denied({ ...refusal(), principalId: alice })
  await recorder.close(5_000)
  const rows = await store.db
    .selectFrom('events')
    .select('data')
    .where('principal_id', '=', alice)
    .orderBy('id')
    .execute()
  expect(rows.map((row) => row.data['suppressed'])).toEqual([
    ...Array.from({ length: 5 }, () => undefined),
    95 + 7,
    undefined,
  ])
})

import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { newId, type ReplicaId, type RunnerId } from '../../src/core/index.ts'
import {
  beat,
  claimRunners,
  endLeases,
  findRunner,
  insertLease,
  listHolds,
  moveRunner,
  noteRunner,
  reapHolds,
  releaseClaim,
  releaseHold,
  type Store,
  startRunner,
  takeHold,
} from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'
import { makePrincipal, rowOf } from '../support/replica.ts'

/** A runner that is ready in generation 1, and replicas to hold it. */
async function setUp(replicaCount: number) {
  const store = await testStore({ poolSize: 12 })
  const principalId = await makePrincipal(store)
  const id = newId('run')
  await store.db
    .insertInto('runners')
    .values({
      id,
      principal_id: principalId,
      name: 'r-a',
      home_name: 'h-a',
      state: 'ready',
      generation: 1,
      sandbox_uid: 'u1',
      address: 'a',
    })
    .execute()
  const replicas = Array.from({ length: replicaCount }, () => newId('rep'))
  for (const replica of replicas) await beat(store.db, { id: replica, kind: 'gateway', host: 'test' })
  const me = replicas[0]
  if (me === undefined) throw new Error('no replica')
  return { store, id, principalId, replicas, me, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

/** The idle predicate is off (0 ms), to force the race. */
async function cull(store: Store, id: RunnerId, replicaId: ReplicaId, generation: number) {
  return await moveRunner(store.db, {
    id,
    from: 'ready',
    to: 'stopping',
    generation,
    idleMs: 0,
    replicaId,
    cause: 'idle',
    message: 'idle',
  })
}

test('a runner is culled or held, never both: thousands of holds against culls of the same row', async () => {
  await using t = await setUp(3)
  const { store, id } = t
  let culls = 0
  let held = 0
  let isOver = false
  const violations: string[] = []
  const holder = async (replica: ReplicaId) => {
    for (let round = 0; round < 400; round++) {
      const row = await takeHold(store.db, id, replica)
      if (row === undefined) continue
      held++
      const now = await findRunner(store.db, { id })
      if (now?.state !== 'ready' || now.generation !== row.generation)
        violations.push(`held ${row.generation}, found ${now?.state} ${now?.generation}`)
      await releaseHold(store.db, id, replica, row.generation)
      await sleep(Math.random() * 6)
    }
  }
  const culler = async () => {
    while (!isOver) {
      const row = await findRunner(store.db, { id })
      if (row?.state === 'ready' && (await cull(store, id, t.me, row.generation)) !== undefined) {
        culls++
        await sql`UPDATE runners SET state = 'ready', generation = generation + 1 WHERE id = ${id}`.execute(
          store.db,
        )
      }
    }
  }
  const culling = Promise.all([culler(), culler()])
  await Promise.all(t.replicas.map(holder))
  isOver = true
  await culling
  expect(violations).toEqual([])
  expect(held).toBeGreaterThan(300)
  expect(culls).toBeGreaterThan(20)
  expect((await rowOf(store, t.principalId)).holds).toBe(0)
}, 120_000)

test('taking a hold twice counts once, and so does giving it back twice', async () => {
  await using t = await setUp(1)
  await takeHold(t.store.db, t.id, t.me)
  await takeHold(t.store.db, t.id, t.me)
  expect((await rowOf(t.store, t.principalId)).holds).toBe(1)
  await Promise.all([1, 2, 3, 4].map(() => releaseHold(t.store.db, t.id, t.me, 1)))
  expect((await rowOf(t.store, t.principalId)).holds).toBe(0)
})

test('giving back and reaping the same hold at once counts once, whoever is first', async () => {
  await using t = await setUp(1)
  for (let round = 0; round < 100; round++) {
    await sql`UPDATE replicas SET heartbeat_at = now()`.execute(t.store.db)
    await takeHold(t.store.db, t.id, t.me)
    await sql`UPDATE replicas SET heartbeat_at = now() - interval '1 min'`.execute(t.store.db)
    await Promise.all([
      releaseHold(t.store.db, t.id, t.me, 1),
      reapHolds(t.store.db, 45),
      releaseHold(t.store.db, t.id, t.me, 1),
      reapHolds(t.store.db, 45),
    ])
    expect((await rowOf(t.store, t.principalId)).holds).toBe(0)
  }
})

test('only the holds of replicas with an old heartbeat are reaped', async () => {
  await using t = await setUp(2)
  const other = t.replicas[1] ?? t.me
  await takeHold(t.store.db, t.id, t.me)
  await takeHold(t.store.db, t.id, other)
  await sql`UPDATE replicas SET heartbeat_at = now() - interval '46 s' WHERE id = ${t.me}`.execute(t.store.db)
  expect(await reapHolds(t.store.db, 45)).toBe(1)
  expect((await rowOf(t.store, t.principalId)).holds).toBe(1)
  expect(await listHolds(t.store.db, other)).toEqual([{ runnerId: t.id, generation: 1, draining: false }])
})

test('the end of a generation ends its holds, and giving one back afterwards counts nothing', async () => {
  await using t = await setUp(1)
  await takeHold(t.store.db, t.id, t.me)
  await moveRunner(t.store.db, {
    id: t.id,
    from: 'ready',
    to: 'lost',
    generation: 1,
    replicaId: t.me,
    cause: 'gone',
    message: 'gone',
  })
  expect((await rowOf(t.store, t.principalId)).holds).toBe(0)
  await sql`UPDATE runners SET state = 'ready', generation = 2`.execute(t.store.db)
  await takeHold(t.store.db, t.id, t.me)
  await releaseHold(t.store.db, t.id, t.me, 1)
  expect((await rowOf(t.store, t.principalId)).holds).toBe(1)
})

test('a lease is never added to a generation that has ended, even at the same instant', async () => {
  await using t = await setUp(1)
  for (let generation = 1; generation <= 60; generation++) {
    const lease = (n: number) =>
      insertLease(t.store.db, {
        id: newId('lse'),
        secretSha256: `${generation}-${n}`,
        runnerId: t.id,
        generation,
        sourceId: 's',
        profile: null,
      })
    await Promise.all([
      lease(1),
      moveRunner(t.store.db, {
        id: t.id,
        from: 'ready',
        to: 'stopping',
        generation,
        replicaId: t.me,
        cause: 'x',
        message: 'x',
      }),
      lease(2),
      lease(3),
    ])
    const live = await t.store.db.selectFrom('leases').select('id').where('ended_at', 'is', null).execute()
    expect(live).toEqual([])
    await sql`UPDATE runners SET state = 'ready', generation = generation + 1`.execute(t.store.db)
  }
  await endLeases(t.store.db, t.id)
})

test('a claim is had by one replica, ends by its lease, and fences off every write of the one before', async () => {
  await using t = await setUp(2)
  const other = t.replicas[1] ?? t.me
  await sql`UPDATE runners SET state = 'starting'`.execute(t.store.db)
  const claims = await Promise.all(
    [t.me, other, t.me, other].map((replicaId) =>
      claimRunners(t.store.db, { replicaId, limit: 10, leaseSeconds: 30 }),
    ),
  )
  expect(claims.flat()).toHaveLength(1)
  const first = claims.findIndex((claim) => claim.length === 1)
  const owner = first % 2 === 0 ? t.me : other
  const stale = { owner, epoch: claims[first]?.[0]?.leaseEpoch ?? 0 }
  await sql`UPDATE runners SET lease_until = now() - interval '1 s'`.execute(t.store.db)
  const [taken] = await claimRunners(t.store.db, { replicaId: owner, limit: 10, leaseSeconds: 30 })
  expect(taken?.leaseEpoch).toBe(stale.epoch + 1)
  const before = await rowOf(t.store, t.principalId)
  expect(await noteRunner(t.store.db, t.id, stale, { message: 'late' })).toBe(false)
  expect(await releaseClaim(t.store.db, t.id, stale, 0)).toBe(false)
  const move = {
    id: t.id,
    from: 'starting',
    to: 'failed',
    generation: 1,
    replicaId: owner,
    cause: 'x',
    message: 'x',
  } as const
  expect(await moveRunner(t.store.db, { ...move, fence: stale })).toBeUndefined()
  expect(await rowOf(t.store, t.principalId)).toEqual(before)
  expect(await t.store.db.selectFrom('runner_events').select('id').execute()).toEqual([])
})

test('racing starts of one runner make one generation, and no more start than the cap', async () => {
  await using t = await setUp(1)
  await sql`UPDATE runners SET state = 'stopped'`.execute(t.store.db)
  const start = (id: RunnerId, cap: number) =>
    startRunner(t.store.db, {
      id,
      from: 'stopped',
      generation: 1,
      sandboxUid: newId('sbx'),
      cap,
      replicaId: t.me,
      cause: 'wanted',
    })
  expect(await start(t.id, 0)).toBe('full')
  const started = await Promise.all(Array.from({ length: 10 }, () => start(t.id, 5)))
  expect(started.filter((row) => row !== undefined && row !== 'full')).toHaveLength(1)
  expect(await rowOf(t.store, t.principalId)).toMatchObject({ generation: 2, state: 'starting' })
})

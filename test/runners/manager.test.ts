import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { newId, sha256 } from '../../src/core/index.ts'
import { listEvents } from '../../src/store/index.ts'
import {
  aCall,
  callOnce,
  checkBooks,
  echo,
  makePrincipal,
  notingHooks,
  rowOf,
  startReplica,
} from '../support/replica.ts'
import { setUp } from '../support/scripted-world.ts'
import { until } from '../support/until.ts'

test('the first call makes the sandbox, tells what it waits for, names the life, and answers', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  const hooks = notingHooks()
  const answer = await replica.runners.call(aCall(t.alice, { arguments: { hello: 'world' } }), hooks)
  expect(answer).toEqual({
    type: 'result',
    result: { content: [{ type: 'text', text: '{"hello":"world"}' }] },
  })
  const row = await rowOf(t.store, t.alice)
  expect(row).toMatchObject({
    state: 'ready',
    generation: 1,
    holds: 1,
    isolation: 'bubblewrap',
    wanted: false,
  })
  expect(hooks.lives).toEqual([{ runnerId: row.id, generation: 1 }])
  expect(hooks.sentences[0]).toMatch(/^starting your sandbox/)
  await checkBooks(t.store)
})

test('a warm call makes no database round trip of its own', async () => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, timings: { tickMs: 3_600_000 } })
  await callOnce(replica.runners, t.alice)
  await sleep(100)
  let queries = 0
  replica.store.pool.on('acquire', () => queries++)
  for (let n = 0; n < 100; n++) expect((await callOnce(replica.runners, t.alice)).type).toBe('result')
  expect(queries).toBe(0)
})

test('when sending is refused by the caller, nothing is sent and its error comes back', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  const refusal = new Error('no longer allowed')
  const hooks = { ...notingHooks(), sending: () => Promise.reject(refusal) }
  await expect(replica.runners.call(aCall(t.alice), hooks)).rejects.toBe(refusal)
  expect(t.toolhost.executions).toEqual([])
})

test('leases are one hash per source and generation, and end with the generation', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  await callOnce(replica.runners, t.alice)
  const sandbox = [...t.machine.sandboxes.values()][0]
  const lease = sandbox?.sources.get('echo')?.lease ?? ''
  expect(Buffer.from(lease, 'base64url')).toHaveLength(32)
  const rows = await t.store.db.selectFrom('leases').selectAll().execute()
  expect(rows).toMatchObject([
    { secret_sha256: sha256(lease), source_id: 'echo', generation: 1, ended_at: null },
  ])
  expect(JSON.stringify(await listEvents(t.store.db, { limit: 100 }))).not.toContain(lease)
  await replica.runners.stop(t.alice, 'test')
  const after = await t.store.db.selectFrom('leases').select('ended_at').execute()
  expect(after[0]?.ended_at).toBeInstanceOf(Date)
})

test('an idle runner is stopped, says so, keeps its home, and the next call wakes it', async () => {
  await using t = await setUp()
  await using replica = await startReplica({
    ...t,
    timings: { holdLingerMs: 10, idleStopMs: 100, cullMs: 30 },
  })
  await callOnce(replica.runners, t.alice)
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopped')
  expect(await replica.runners.find(t.alice)).toMatchObject({
    state: 'stopped',
    message: 'it was idle for 0 s',
    holds: 0,
  })
  expect(t.machine.sandboxes.size).toBe(0)
  expect((await callOnce(replica.runners, t.alice)).type).toBe('result')
  const row = await rowOf(t.store, t.alice)
  expect(row.generation).toBe(2)
  await checkBooks(t.store)
})

test('a runner with a call in flight is never idle', async () => {
  await using t = await setUp()
  t.toolhost.tool = async () => {
    await sleep(400)
    return { content: [] }
  }
  await using replica = await startReplica({
    ...t,
    timings: { holdLingerMs: 1, idleStopMs: 100, cullMs: 10 },
  })
  expect((await callOnce(replica.runners, t.alice)).type).toBe('result')
  expect(t.machine.made).toHaveLength(1)
})

test('a runner that has lived long enough is stopped although it is not idle, but never under a call', async () => {
  await using t = await setUp()
  const bob = await makePrincipal(t.store, 'bob')
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>()
  t.toolhost.tool = async (request) => {
    if (request.arguments['long'] === true) await mayEnd
    return { content: [] }
  }
  await using replica = await startReplica({
    ...t,
    timings: { holdLingerMs: 1, idleStopMs: 3_600_000, maxAgeMs: 300, cullMs: 10 },
  })
  const hooks = notingHooks()
  const running = replica.runners.call(aCall(t.alice, { arguments: { long: true } }), hooks)
  await until(() => t.toolhost.executions.length === 1)
  // Younger than Alice's: when a round has stopped it, that round has seen hers too old as well.
  expect((await callOnce(replica.runners, bob)).type).toBe('result')
  await until(async () => (await rowOf(t.store, bob)).state === 'stopped')
  expect(await rowOf(t.store, bob)).toMatchObject({ reason: 'max_age', message: 'it had run for 0 s' })
  expect(await rowOf(t.store, t.alice)).toMatchObject({
    state: 'ready',
    generation: hooks.lives.at(-1)?.generation,
  })

  end()
  expect((await running).type).toBe('result')
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopped')
  expect(await rowOf(t.store, t.alice)).toMatchObject({ reason: 'max_age' })
  expect((await callOnce(replica.runners, t.alice)).type).toBe('result')
  await checkBooks(t.store)
})

test('stop ends the sandbox and its calls as unknown within a second, on another replica too', async () => {
  await using t = await setUp()
  t.toolhost.tool = (_, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('cut'))))
  await using one = await startReplica(t)
  await using other = await startReplica(t)
  const running = callOnce(one.runners, t.alice)
  await until(() => t.toolhost.executions.length === 1)
  const since = performance.now()
  await other.runners.stop(t.alice, 'revoked by an admin')
  expect(await running).toMatchObject({
    type: 'unknown',
    message: expect.stringContaining('revoked by an admin'),
  })
  expect(performance.now() - since).toBeLessThan(1_000)
  expect(t.machine.sandboxes.size).toBe(0)
  expect(await other.runners.find(t.alice)).toMatchObject({
    state: 'stopped',
    message: 'it was stopped: revoked by an admin',
  })
  await checkBooks(t.store)
})

test('stop of a runner that was never started, or is stopped, does nothing', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  await replica.runners.stop(t.alice, 'test')
  await callOnce(replica.runners, t.alice)
  await replica.runners.stop(t.alice, 'test')
  await replica.runners.stop(t.alice, 'test')
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'stopped', generation: 1 })
})

test('a cancelled call ends inside; one cancelled while it waits sends nothing', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  t.machine.bootMs = 300
  const early = new AbortController()
  const waiting = replica.runners.call(aCall(t.alice), notingHooks(early.signal))
  await sleep(100)
  early.abort()
  await expect(waiting).rejects.toMatchObject({ code: 'call_cancelled' })
  expect(t.toolhost.executions).toEqual([])
  t.toolhost.tool = () => new Promise(() => {})
  const late = new AbortController()
  const running = replica.runners.call(aCall(t.alice), notingHooks(late.signal))
  await until(() => t.toolhost.executions.length === 1)
  late.abort()
  expect(await running).toMatchObject({ type: 'failed', code: 'call_cancelled' })
})

test('calls queue for the places in their runner, and one too many is told that it is busy', async () => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, limits: { parallelCalls: 2, queuedCalls: 3 } })
  await callOnce(replica.runners, t.alice)
  let running = 0
  let most = 0
  t.toolhost.tool = async () => {
    most = Math.max(most, ++running)
    await sleep(50)
    running--
    return { content: [] }
  }
  const ends = await Promise.allSettled(Array.from({ length: 7 }, () => callOnce(replica.runners, t.alice)))
  expect(ends.filter((end) => end.status === 'fulfilled')).toHaveLength(5)
  expect(ends.filter((end) => end.status === 'rejected').map((end) => end.reason.code)).toEqual([
    'runner_busy',
    'runner_busy',
  ])
  expect(most).toBe(2)
})

test('a source that the toolhost has forgotten is put again and the call still runs once', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  for (const sandbox of t.machine.sandboxes.values()) sandbox.sources.clear()
  t.toolhost.executions.length = 0
  expect((await callOnce(replica.runners, t.alice)).type).toBe('result')
  expect(t.toolhost.executions).toHaveLength(1)
})

test('two replicas put the same source once: the first lease stays, and both leases are live', async () => {
  await using t = await setUp()
  await using one = await startReplica(t)
  await using other = await startReplica(t)
  await callOnce(one.runners, t.alice)
  const lease = [...t.machine.sandboxes.values()][0]?.sources.get('echo')?.lease
  await callOnce(other.runners, t.alice)
  expect([...t.machine.sandboxes.values()][0]?.sources.get('echo')?.lease).toBe(lease)
  expect(
    await t.store.db.selectFrom('leases').select('id').where('ended_at', 'is', null).execute(),
  ).toHaveLength(2)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ holds: 2, generation: 1 })
})

test('pre-warming starts the sandbox and its sources, and failing it throws nothing', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  replica.runners.prewarm(t.alice, [echo])
  await until(() => [...t.machine.sandboxes.values()][0]?.sources.has('echo') === true)
  replica.runners.prewarm(newId('prn'), [echo])
  expect(await replica.runners.listTools(t.alice, echo, AbortSignal.timeout(5_000))).toEqual([
    { name: 'echo' },
  ])
})

test('every state has its reason in one sentence', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  expect(await replica.runners.find(t.alice)).toBeUndefined()
  t.machine.bootMs = 200
  const call = callOnce(replica.runners, t.alice)
  await until(async () => (await replica.runners.find(t.alice))?.phase === 'booting')
  expect(await replica.runners.list()).toMatchObject([
    { principalName: 'alice', state: 'starting', message: 'its toolhost is booting' },
  ])
  await call
  t.machine.kill((await rowOf(t.store, t.alice)).name)
  await until(async () => (await replica.runners.find(t.alice))?.state === 'stopped')
  expect((await replica.runners.find(t.alice))?.message).toBe(
    'its sandbox was gone: it crashed or was ended from outside',
  )
})

test('invariant 14: closing leaves sandboxes running, gives holds back, and the next replica adopts them', async () => {
  await using t = await setUp()
  {
    await using replica = await startReplica(t)
    await callOnce(replica.runners, t.alice)
  }
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', holds: 0 })
  await using next = await startReplica(t)
  expect((await callOnce(next.runners, t.alice)).type).toBe('result')
  expect(t.machine.made).toHaveLength(1)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ generation: 1, holds: 1 })
})

test('closing for good, as npm run dev does, ends every sandbox', async () => {
  await using t = await setUp()
  {
    await using replica = await startReplica({ ...t, stopAllOnClose: true })
    await callOnce(replica.runners, t.alice)
    await callOnce(replica.runners, await makePrincipal(t.store, 'bob'))
  }
  expect(t.machine.sandboxes.size).toBe(0)
  expect(await sql`SELECT FROM runners WHERE state <> 'stopped'`.execute(t.store.db)).toMatchObject({
    rows: [],
  })
})

test('a runner that never pauses drains after its time: no call is cut or fails, the next waits for a new sandbox', async () => {
  await using t = await setUp()
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>()
  t.toolhost.tool = async (request) => {
    if (request.arguments['long'] === true) await mayEnd
    return { content: [] }
  }
  const timings = { maxAgeMs: 200, maxAgeGraceMs: 200, cullMs: 10, holdLingerMs: 3_600_000 }
  await using one = await startReplica({ ...t, timings })
  // It hears no notice, so only its own comparison with the database tells it.
  await using deaf = await startReplica({ ...t, timings, isDeaf: true })
  const hooks = notingHooks()
  const long = one.runners.call(aCall(t.alice, { arguments: { long: true } }), hooks)
  await until(() => t.toolhost.executions.length === 1)
  expect((await callOnce(deaf.runners, t.alice)).type).toBe('result')
  await until(async () => (await rowOf(t.store, t.alice)).draining)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1, reason: 'max_age' })
  expect(await one.runners.find(t.alice)).toMatchObject({ message: 'it has run for 0 s without a pause' })
  await until(() => !one.runners.awake(t.alice) && !deaf.runners.awake(t.alice))

  const waiting = [one, deaf].map(({ runners }) => {
    const noted = notingHooks()
    return { noted, answer: runners.call(aCall(t.alice), noted) }
  })
  await until(() => waiting.every(({ noted }) => noted.sentences.length > 0))
  for (const { noted } of waiting) expect(noted.sentences[0]).toMatch(/^your sandbox is being replaced/)
  await sleep(100)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1, holds: 1 })

  end()
  expect((await long).type).toBe('result')
  expect(hooks.lives).toHaveLength(1)
  for (const { noted, answer } of waiting) {
    expect((await answer).type).toBe('result')
    // As short-lived as it is here, one that nobody holds yet may be of age before the deaf replica looks.
    expect(noted.lives).toEqual([
      { runnerId: hooks.lives[0]?.runnerId, generation: expect.toSatisfy((n) => n >= 2) },
    ])
  }
  expect(t.machine.sandboxes.size).toBe(1)
  await checkBooks(t.store)
})

test('a person who calls without a pause loses no call while sandbox after sandbox reaches its age', async () => {
  await using t = await setUp()
  t.toolhost.tool = async () => {
    await sleep(5)
    return { content: [] }
  }
  await using replica = await startReplica({
    ...t,
    timings: { maxAgeMs: 100, maxAgeGraceMs: 50, cullMs: 10, holdLingerMs: 3_600_000 },
  })
  const caller = async () => {
    while ((await rowOf(t.store, t.alice).catch(() => ({ generation: 0 }))).generation < 4)
      expect((await callOnce(replica.runners, t.alice)).type).toBe('result')
  }
  await Promise.all([caller(), caller(), caller()])
  await checkBooks(t.store)
})

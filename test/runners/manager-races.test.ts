import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { testStore } from '../support/database.ts'
import {
  aCall,
  callOnce,
  checkBooks,
  makePrincipal,
  notingHooks,
  type Replica,
  rowOf,
  startReplica,
} from '../support/replica.ts'
import { type Operation, ScriptedMachine } from '../support/scripted-driver.ts'
import { scriptedToolhost } from '../support/scripted-toolhost.ts'
import { until } from '../support/until.ts'

async function setUp() {
  const store = await testStore({ poolSize: 4 })
  const machine = new ScriptedMachine()
  const toolhost = scriptedToolhost(machine)
  const alice = await makePrincipal(store)
  return { store, machine, toolhost, alice, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() }
}

test('invariant 6: two replicas with fifty parallel first calls each make one sandbox in one generation, and serve all', async () => {
  await using t = await setUp()
  await using one = await startReplica(t)
  await using other = await startReplica(t)
  const calls = [one, other].flatMap((replica) =>
    Array.from({ length: 50 }, () => callOnce(replica.runners, t.alice)),
  )
  const answers = await Promise.all(calls)
  expect(answers.filter((answer) => answer.type === 'result')).toHaveLength(100)
  expect(t.machine.made).toHaveLength(1)
  expect(new Set(t.toolhost.executions.map((one) => one.callId)).size).toBe(100)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ generation: 1, state: 'ready', holds: 2 })
  await checkBooks(t.store)
})

test('forty people at once on two replicas: never more start than the cap allows, and all are served', async () => {
  await using t = await setUp()
  const people = await Promise.all(Array.from({ length: 40 }, (_, n) => makePrincipal(t.store, `p${n}`)))
  t.machine.bootMs = 30
  let booting = 0
  let most = 0
  t.machine.after = (operation) => {
    if (operation !== 'ensure') return
    booting = [...t.machine.sandboxes.values()].filter(
      (one) => t.machine.facts(one).phase === 'booting',
    ).length
    most = Math.max(most, booting)
  }
  await using one = await startReplica({ ...t, timings: { startingCap: 5 } })
  await using other = await startReplica({ ...t, timings: { startingCap: 5 } })
  const answers = await Promise.all(
    people.map((person, n) => callOnce(n % 2 === 0 ? one.runners : other.runners, person)),
  )
  expect(answers.every((answer) => answer.type === 'result')).toBe(true)
  expect(t.machine.made).toHaveLength(40)
  expect(most).toBeLessThanOrEqual(5)
})

test('a thousand calls, each racing with the cull of its runner, are all served, by the old sandbox or a new one', async () => {
  await using t = await setUp()
  t.machine.bootMs = 0
  t.machine.endMs = 0
  const timings = { holdLingerMs: 0, idleStopMs: 0, cullMs: 1, tickMs: 20 }
  await using one = await startReplica({ ...t, timings })
  await using other = await startReplica({ ...t, timings })
  let served = 0
  for (let round = 0; round < 500; round++) {
    const both = await Promise.all([callOnce(one.runners, t.alice), callOnce(other.runners, t.alice)])
    served += both.filter((answer) => answer.type === 'result').length
    if (round % 2 === 0) await sleep(Math.random() * 4)
  }
  expect(served).toBe(1_000)
  expect(t.toolhost.executions).toHaveLength(1_000)
  // How many culls came in time depends on the machine; one is a race already.
  expect(t.machine.made.length).toBeGreaterThan(1)
  await until(async () => (await rowOf(t.store, t.alice)).holds === 0)
  await checkBooks(t.store)
}, 120_000)

/** Cuts `replica` off the first time it comes to `operation`, before or after it is done. */
function dieAt(
  machine: ScriptedMachine,
  when: 'before' | 'after',
  operation: Operation,
  die: () => Promise<void>,
) {
  let isDone = false
  machine[when] = async (now) => {
    if (now !== operation || isDone) return
    isDone = true
    await die()
    throw new Error('the process is dead')
  }
}

test.each([
  ['before its sandbox is made', 'before', 'ensure'],
  ['when its sandbox was just made', 'after', 'ensure'],
  ['after the handshake, before it wrote ready', 'after', 'health'],
] as const)(
  'invariant 14: a replica that dies %s is taken over, with one sandbox',
  async (_, when, operation) => {
    await using t = await setUp()
    const timings = { leaseSeconds: 1 }
    await using dying = await startReplica({ ...t, timings })
    dieAt(t.machine, when, operation, () => dying.abandon())
    const lost = callOnce(dying.runners, t.alice).catch((error: unknown) => error)
    await until(() => t.machine.operations.some((one) => one.operation === operation))
    await using next = await startReplica({ ...t, timings })
    const hooks = notingHooks()
    expect(await next.runners.call(aCall(t.alice), hooks)).toMatchObject({ type: 'result' })
    expect(hooks.lives).toMatchObject([{ generation: 1 }])
    expect(t.machine.made).toHaveLength(1)
    expect(t.machine.sandboxes.size).toBe(1)
    expect(await lost).toMatchObject({ code: 'unavailable' })
    await checkBooks(t.store)
  },
)

test('a replica that was paused past its lease finds its writes fenced off and drops its work', async () => {
  await using t = await setUp()
  let resume: () => void = () => {}
  const paused = new Promise<void>((resolve) => {
    resume = resolve
  })
  let isFirst = true
  t.machine.after = async (operation) => {
    if (operation !== 'ensure' || !isFirst) return
    isFirst = false
    await paused
  }
  const timings = { leaseSeconds: 1 }
  await using one = await startReplica({ ...t, timings })
  const early = callOnce(one.runners, t.alice)
  await until(() => !isFirst)
  await using other = await startReplica({ ...t, timings })
  expect(await callOnce(other.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(await early).toMatchObject({ type: 'result' })
  const before = await rowOf(t.store, t.alice)
  resume()
  await sleep(200)
  expect(await rowOf(t.store, t.alice)).toEqual(before)
  const events = await t.store.db.selectFrom('runner_events').select('to_state').orderBy('id').execute()
  expect(events.map((event) => event.to_state)).toEqual(['starting', 'ready'])
})

test('a replica that was paused past the start deadline does not end the sandbox that another made ready', async () => {
  await using t = await setUp()
  let resume: () => void = () => {}
  const paused = new Promise<void>((resolve) => {
    resume = resolve
  })
  let isFirst = true
  t.machine.before = async (operation) => {
    if (operation !== 'health' || !isFirst) return
    isFirst = false
    await paused
    throw new Error('the answer came too late')
  }
  const timings = { leaseSeconds: 1, startDeadlineMs: 4_000 }
  await using one = await startReplica({ ...t, timings })
  one.runners.prewarm(t.alice, [])
  await until(() => !isFirst)
  await using other = await startReplica({ ...t, timings })
  expect(await callOnce(other.runners, t.alice)).toMatchObject({ type: 'result' })
  await sleep(4_000)
  resume()
  await sleep(300)
  expect(t.machine.ended).toEqual([])
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1 })
})

async function withDeadHolder(t: Awaited<ReturnType<typeof setUp>>): Promise<Replica> {
  const dying = await startReplica(t)
  t.toolhost.tool = () => new Promise(() => {})
  void callOnce(dying.runners, t.alice).catch(() => undefined)
  await until(() => t.toolhost.executions.length === 1)
  await dying.abandon()
  return dying
}

test('the holds of a replica that died in a call are reaped, and its call is not sent again', async () => {
  await using t = await setUp()
  await using _dead = await withDeadHolder(t)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ holds: 1 })
  await using other = await startReplica({
    ...t,
    beatMs: 200,
    timings: { reapAfterSeconds: 1, cullMs: 50, idleStopMs: 100 },
  })
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopped')
  expect(t.toolhost.executions).toHaveLength(1)
  await checkBooks(t.store)
  t.toolhost.tool = async () => ({ content: [] })
  expect(await callOnce(other.runners, t.alice)).toMatchObject({ type: 'result' })
})

test('a replica that was taken for dead asks the database before it trusts what it holds', async () => {
  await using t = await setUp()
  await using paused = await startReplica({
    ...t,
    isDeaf: true,
    beatMs: 3_600_000,
    freshMs: 300,
    timings: { tickMs: 3_600_000 },
  })
  await callOnce(paused.runners, t.alice)
  // A sandbox that goes on answering until the moment it is gone: only the hold can keep calls away from it.
  t.machine.endMs = 700
  t.machine.before = (operation) => {
    if (operation === 'drain') throw new Error('the drain is lost')
  }
  await sleep(400)
  await using _other = await startReplica({
    ...t,
    beatMs: 100,
    timings: { reapAfterSeconds: 0.3, cullMs: 20, idleStopMs: 0 },
  })
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopping')
  expect(await callOnce(paused.runners, t.alice)).toMatchObject({ type: 'result' })
  const [first, second] = t.toolhost.executions
  expect(first?.generation).toBe(1)
  expect(second?.generation).toBeGreaterThan(1)
  await checkBooks(t.store)
})

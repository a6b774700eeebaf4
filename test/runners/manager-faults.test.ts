import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { AppError, createLog } from '../../src/core/index.ts'
import { listEvents, listRunnerEvents } from '../../src/store/index.ts'
import { cutOff, testStore } from '../support/database.ts'
import {
  aCall,
  callOnce,
  checkBooks,
  makePrincipal,
  notingHooks,
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

/** Throws the first `times` that `operation` is done. */
function failing(
  operation: Operation,
  times: number,
  error: () => Error = () => new Error('scripted fault'),
) {
  let left = times
  return (now: Operation) => {
    if (now === operation && left-- > 0) throw error()
  }
}

test('a lost answer to ensure is continued with the sandbox that was made', async () => {
  await using t = await setUp()
  t.machine.after = failing('ensure', 1)
  await using replica = await startReplica(t)
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(t.machine.made).toHaveLength(1)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ generation: 1, failures: 0 })
})

test('a start that is in doubt says why to whoever looks, until it is not', async () => {
  await using t = await setUp()
  let isHeld = true
  t.machine.before = (operation: Operation) => {
    if (isHeld && operation === 'observe') throw new AppError('unavailable', 'parts of it still run')
  }
  await using replica = await startReplica(t)
  const called = callOnce(replica.runners, t.alice)
  await until(async () => {
    const row = await rowOf(t.store, t.alice).catch(() => undefined)
    return row?.message === 'parts of it still run'
  })
  isHeld = false
  expect(await called).toMatchObject({ type: 'result' })
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', message: null })
})

/** Leaves a sandbox of the given generation under Alice's name, which no row knows. */
async function leaveSandbox(t: Awaited<ReturnType<typeof setUp>>, generation: number): Promise<string> {
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  const sandbox = [...t.machine.sandboxes.values()][0]
  if (sandbox === undefined) throw new Error('no sandbox')
  sandbox.spec = { ...sandbox.spec, generation, uid: 'sbx_old' }
  await t.store.db
    .updateTable('runners')
    .set({ state: 'stopped', generation: 3, sandbox_uid: null })
    .execute()
  return sandbox.spec.name
}

test('an older sandbox of ours under the name is ended first, then the new one starts', async () => {
  await using t = await setUp()
  await leaveSandbox(t, 2)
  await using replica = await startReplica(t)
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(t.machine.ended).toEqual(['sbx_old'])
  expect(await rowOf(t.store, t.alice)).toMatchObject({ generation: 4, state: 'ready' })
})

test('a sandbox newer than its row, as after a restored backup, is replaced by one newer still', async () => {
  await using t = await setUp()
  await leaveSandbox(t, 9)
  await using replica = await startReplica(t)
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(t.machine.ended).toEqual(['sbx_old'])
  expect(await rowOf(t.store, t.alice)).toMatchObject({ generation: 10, state: 'ready' })
})

test('a name held by something foreign fails the start at once, and the foreign thing is left alone', async () => {
  await using t = await setUp()
  const name = await leaveSandbox(t, 2)
  t.machine.sandboxes.clear()
  t.machine.foreign.add(name)
  t.machine.operations.length = 0
  await using replica = await startReplica(t)
  await expect(callOnce(replica.runners, t.alice)).rejects.toMatchObject({
    code: 'runner_failed',
    message: expect.stringContaining('not ours'),
  })
  expect(t.machine.operations.filter((one) => one.operation === 'ensure').length).toBeLessThanOrEqual(1)
  expect(t.machine.foreign.has(name)).toBe(true)
})

test('a start that keeps failing is tried again five times, then refused with its reason and without a storm', async () => {
  await using t = await setUp()
  t.machine.before = failing('ensure', 1_000, () => new AppError('runner_failed', 'the disk is full'))
  await using replica = await startReplica(t)
  const refusal = { code: 'runner_failed', message: expect.stringContaining('the disk is full') }
  await expect(callOnce(replica.runners, t.alice)).rejects.toMatchObject(refusal)
  const tries = t.machine.operations.filter((one) => one.operation === 'ensure').length
  expect(tries).toBe(6)
  await expect(callOnce(replica.runners, t.alice)).rejects.toMatchObject(refusal)
  await sleep(200)
  expect(t.machine.operations.filter((one) => one.operation === 'ensure')).toHaveLength(tries)
  expect(await replica.runners.find(t.alice)).toMatchObject({
    state: 'failed',
    message: 'it could not be started: the disk is full',
  })
  // An admin's stop forgets the failures.
  t.machine.before = () => {}
  await replica.runners.stop(t.alice, 'repaired')
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
})

test('a start that fails twice and then works serves the waiting call', async () => {
  await using t = await setUp()
  t.machine.before = failing('ensure', 2, () => new AppError('runner_failed', 'no memory left'))
  await using replica = await startReplica(t)
  const hooks = notingHooks()
  expect(await replica.runners.call(aCall(t.alice), hooks)).toMatchObject({ type: 'result' })
  expect(await rowOf(t.store, t.alice)).toMatchObject({ generation: 3, failures: 0 })
})

test('before the first egress proxy a start waits, says what for, and counts as no failure', async () => {
  await using t = await setUp()
  const lines: { level: number; msg: string }[] = []
  const log = createLog({ level: 'info', name: 't' }, { write: (line) => void lines.push(JSON.parse(line)) })
  let ca: string | undefined
  let asked = 0
  const caCertificate = async () => {
    asked++
    return ca
  }
  await using replica = await startReplica({ ...t, caCertificate, log })
  const hooks = notingHooks()
  const waiting = replica.runners.call(aCall(t.alice), hooks)
  await until(() => asked >= 3)
  expect(hooks.sentences.at(-1)).toMatch(/no egress proxy has started yet; start `toolcrib egress`/)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'stopped', generation: 0, failures: 0 })
  expect(lines).toEqual([
    expect.objectContaining({ level: 30, msg: expect.stringContaining('start `toolcrib egress`') }),
  ])

  ca = 'ca'
  expect((await waiting).type).toBe('result')
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1, failures: 0 })
})

test('a sandbox that can reach the outside directly never becomes ready and is ended', async () => {
  await using t = await setUp()
  t.machine.egress = 'open'
  await using replica = await startReplica(t)
  await expect(callOnce(replica.runners, t.alice)).rejects.toMatchObject({ code: 'egress_not_enforced' })
  await until(() => t.machine.sandboxes.size === 0)
  expect(t.toolhost.executions).toEqual([])
})

test('a sandbox whose probe has not spoken is not ready, unless there are no walls to probe', async () => {
  await using t = await setUp()
  t.machine.egress = 'not_probed'
  const timings = { startDeadlineMs: 300, startBackoffMs: [] }
  await using walled = await startReplica({ ...t, timings })
  await expect(callOnce(walled.runners, t.alice)).rejects.toMatchObject({ code: 'runner_failed' })
  await walled.runners.stop(t.alice, 'test')
  await walled[Symbol.asyncDispose]()
  await using open = await startReplica({ ...t, driver: t.machine.driver('none'), timings })
  expect(await callOnce(open.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(await open.runners.find(t.alice)).toMatchObject({ isolation: 'none' })
})

test('a call that waits longer than its cap is told to come back, and the start goes on', async () => {
  await using t = await setUp()
  t.machine.bootMs = 600
  await using replica = await startReplica({ ...t, timings: { coldCallCapMs: 200 } })
  await expect(callOnce(replica.runners, t.alice)).rejects.toMatchObject({
    code: 'runner_starting',
    message: expect.stringMatching(/still starting .*try again in 10 s/),
  })
  await until(async () => (await rowOf(t.store, t.alice)).state === 'ready')
})

test('a call while the runner is stopping waits and gets a new generation after the old one is gone', async () => {
  await using t = await setUp()
  t.machine.endMs = 300
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  const stopping = replica.runners.stop(t.alice, 'test')
  // The row says so a moment before the replica that holds it has read it; a call in between still has its old one.
  await until(
    async () => (await rowOf(t.store, t.alice)).state === 'stopping' && !replica.runners.awake(t.alice),
  )
  const hooks = notingHooks()
  expect(await replica.runners.call(aCall(t.alice), hooks)).toMatchObject({ type: 'result' })
  await stopping
  expect(hooks.lives).toMatchObject([{ generation: 2 }])
  expect(hooks.sentences[0]).toMatch(/a new one starts right after/)
})

test('invariant 7: a call whose sandbox is killed ends as unknown, is never sent again, and the next call works', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  t.toolhost.tool = () => new Promise(() => {})
  const running = callOnce(replica.runners, t.alice)
  await until(() => t.toolhost.executions.length === 1)
  t.machine.kill((await rowOf(t.store, t.alice)).name)
  expect(await running).toMatchObject({
    type: 'unknown',
    message: expect.stringContaining('may have done part'),
  })
  t.toolhost.tool = async () => ({ content: [] })
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(t.toolhost.executions.map((one) => one.generation)).toEqual([1, 2])
  await checkBooks(t.store)
})

test('invariant 7: an error that does not say that nothing was sent is unknown, and is not tried again', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  t.machine.after = failing('call', 1)
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'unknown' })
  expect(t.toolhost.executions).toHaveLength(2)
})

test('a sandbox killed while idle is noticed: lost, stopped, and cold-started by the next call', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  const row = await rowOf(t.store, t.alice)
  t.machine.kill(row.name)
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopped')
  const events = await listRunnerEvents(t.store.db, row.id, 10)
  expect(events.map((event) => event.to)).toEqual(['stopped', 'stopping', 'lost', 'ready', 'starting'])
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
})

test('a sandbox killed without any hint is found by the call itself, which still runs once', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  t.machine.sandboxes.clear()
  const hooks = notingHooks()
  expect(await replica.runners.call(aCall(t.alice), hooks)).toMatchObject({ type: 'result' })
  expect(hooks.lives).toMatchObject([{ generation: 1 }, { generation: 2 }])
  expect(t.toolhost.executions).toHaveLength(2)
})

test('a sandbox killed without any hint and without any call is found by the relist', async () => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, timings: { relistMs: 50 } })
  await callOnce(replica.runners, t.alice)
  t.machine.sandboxes.clear()
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopped')
  expect(t.machine.operations.some((one) => one.operation === 'list')).toBe(true)
})

test('invariant 13: a sandbox that answers for another is never made ready, and gets no call', async () => {
  await using t = await setUp()
  const honest = scriptedToolhost(t.machine)
  const toolhost = {
    ...honest,
    health: async (...args: Parameters<typeof honest.health>) => ({
      ...(await honest.health(...args)),
      sandboxUid: 'somebody-else',
    }),
  }
  await using replica = await startReplica({ ...t, toolhost, timings: { startBackoffMs: [] } })
  await expect(callOnce(replica.runners, t.alice)).rejects.toMatchObject({ code: 'runner_failed' })
  expect(honest.executions).toEqual([])
})

test('invariant 13: when another generation answers at the address, nothing is sent to it and a new one is woken', async () => {
  await using t = await setUp()
  await using replica = await startReplica(t)
  await callOnce(replica.runners, t.alice)
  const sandbox = [...t.machine.sandboxes.values()][0]
  if (sandbox === undefined) throw new Error('no sandbox')
  sandbox.spec = { ...sandbox.spec, generation: 77 }
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(t.toolhost.executions.map((one) => one.generation)).toEqual([1, 2])
})

test('invariant 12: a driver that cannot tell stops nothing, deletes nothing and loses nothing', async () => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, timings: { relistMs: 20, sweepMs: 20 } })
  await callOnce(replica.runners, t.alice)
  const name = (await rowOf(t.store, t.alice)).name
  t.machine.before = (operation) => {
    if (operation === 'observe' || operation === 'list') throw new Error('the machine does not answer')
  }
  t.machine.changed(name)
  await sleep(300)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1 })
  expect(t.machine.ended).toEqual([])
  // The way of a call does not ask the driver for facts.
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
})

test('invariant 12: an empty list makes no ready runner lost', async () => {
  await using t = await setUp()
  const blind = { ...t.machine.driver(), list: async () => [] }
  await using replica = await startReplica({ ...t, driver: blind, timings: { relistMs: 20, sweepMs: 20 } })
  await callOnce(replica.runners, t.alice)
  await sleep(200)
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1 })
  expect(t.machine.ended).toEqual([])
})

test('a sandbox without a row is ended by the second sweep that sees it, with an audit event', async () => {
  await using t = await setUp()
  await leaveSandbox(t, 2)
  const bob = await makePrincipal(t.store, 'bob')
  t.machine.operations.length = 0
  await using replica = await startReplica({ ...t, timings: { sweepMs: 100 } })
  await callOnce(replica.runners, bob)
  await until(() => t.machine.ended.includes('sbx_old'))
  expect(t.machine.operations.filter((one) => one.operation === 'list').length).toBeGreaterThanOrEqual(2)
  expect(t.machine.sandboxes.size).toBe(1)
  await until(async () =>
    (await listEvents(t.store.db, { kind: 'runner.changed', limit: 50 })).some(
      (event) => event.data['from'] === 'orphaned',
    ),
  )
})

test('invariant 12: an outage of the database ends no sandbox; a running call ends well and new ones are refused', async () => {
  await using t = await setUp()
  await using replica = await startReplica({
    ...t,
    beatMs: 100,
    freshMs: 500,
    timings: { relistMs: 50, sweepMs: 50, cullMs: 50, idleStopMs: 1_000 },
  })
  t.toolhost.tool = async () => {
    await sleep(1_500)
    return { content: [] }
  }
  const running = callOnce(replica.runners, t.alice)
  await until(() => t.toolhost.executions.length === 1)
  {
    await using _outage = await cutOff(t.store)
    await sleep(700)
    await expect(callOnce(replica.runners, t.alice)).rejects.toMatchObject({ code: 'unavailable' })
    expect(await running).toMatchObject({ type: 'result' })
    await sleep(200)
    expect(t.machine.ended).toEqual([])
  }
  t.toolhost.tool = async () => ({ content: [] })
  await until(() => replica.heartbeat.isFresh())
  expect(await callOnce(replica.runners, t.alice)).toMatchObject({ type: 'result' })
  expect(t.machine.made).toHaveLength(1)
  await checkBooks(t.store)
})

test('a stop while the sandbox is being made leaves no sandbox behind', async () => {
  await using t = await setUp()
  let resume: () => void = () => {}
  const slow = new Promise<void>((resolve) => {
    resume = resolve
  })
  t.machine.before = async (operation) => {
    if (operation === 'ensure') await slow
  }
  await using replica = await startReplica(t)
  replica.runners.prewarm(t.alice, [])
  await until(() => t.machine.operations.some((one) => one.operation === 'ensure'))
  const stopped = replica.runners.stop(t.alice, 'test')
  // Stopping may be over and the next start begun before anybody looks.
  await until(async () => {
    const row = await rowOf(t.store, t.alice)
    return row.state !== 'starting' || row.generation > 1
  })
  resume()
  await stopped
  await until(async () => (await rowOf(t.store, t.alice)).state === 'ready')
  // The pre-warming woke it again: the one sandbox there is belongs to the row.
  const row = await rowOf(t.store, t.alice)
  expect([...t.machine.sandboxes.values()].map((one) => one.spec.uid)).toEqual([row.sandbox_uid])
})

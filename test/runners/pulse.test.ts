import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { AppError } from '../../src/core/index.ts'
import { callOnce, checkBooks, makePrincipal, rowOf, startReplica } from '../support/replica.ts'
import { setUp } from '../support/scripted-world.ts'
import { until } from '../support/until.ts'

// With real sandboxes and real signals: test/system/hung-toolhost.test.ts.
const timings = { healthEveryMs: 20, healthLimitMs: 60, healthMisses: 3 }
const never = new Promise<void>(() => undefined)

function unreached(code: string): AppError {
  const cause = Object.assign(new Error(code), { code })
  return new AppError('runner_failed', 'the sandbox could not be reached', { cause })
}

test('one that leaves three questions in a row unanswered is replaced, and says why', async () => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, timings })
  await callOnce(replica.runners, t.alice)
  t.machine.before = (operation) => (operation === 'health' ? never : undefined)
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopped')
  expect(await rowOf(t.store, t.alice)).toMatchObject({
    reason: 'unresponsive',
    message: expect.stringMatching(/^its toolhost did not answer for \d+ s: it hung or was stopped$/),
  })
  expect(t.machine.ended).toHaveLength(1)
  t.machine.before = () => undefined
  expect((await callOnce(replica.runners, t.alice)).type).toBe('result')
  await checkBooks(t.store)
})

test('one whose socket nobody serves any more is replaced, although the driver sees it alive', async () => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, timings })
  await callOnce(replica.runners, t.alice)
  t.machine.before = (operation) => {
    if (operation === 'health') throw unreached('ECONNREFUSED')
  }
  await until(async () => (await rowOf(t.store, t.alice)).state === 'stopped')
  expect(await rowOf(t.store, t.alice)).toMatchObject({ reason: 'unresponsive' })
})

test('one that hangs holds up nobody: the others are still asked', async () => {
  await using t = await setUp()
  const bob = await makePrincipal(t.store, 'bob')
  await using replica = await startReplica({ ...t, timings: { ...timings, healthLimitMs: 3_600_000 } })
  await callOnce(replica.runners, t.alice)
  await callOnce(replica.runners, bob)
  const names = [(await rowOf(t.store, t.alice)).name, (await rowOf(t.store, bob)).name]
  t.machine.before = (operation, name) => (operation === 'health' && name === names[0] ? never : undefined)
  const asked = () =>
    t.machine.operations.filter(({ operation, name }) => operation === 'health' && name === names[1]).length
  const before = asked()
  await until(() => asked() >= before + 3)
  expect((await rowOf(t.store, t.alice)).state).toBe('ready')
})

const doubts: [string, (asked: number) => Promise<void> | void][] = [
  ['it misses two questions of three', (asked) => (asked % 3 === 0 ? undefined : never)],
  [
    'this process has no descriptors left to ask with',
    () => {
      throw unreached('EMFILE')
    },
  ],
  [
    'something that nobody foresaw goes wrong',
    () => {
      throw new Error('scripted fault')
    },
  ],
]
test.each(doubts)('invariant 12: nothing is ended where %s', async (_, fault) => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, timings })
  await callOnce(replica.runners, t.alice)
  let asked = 0
  t.machine.before = (operation) => (operation === 'health' ? fault(++asked) : undefined)
  await until(() => asked >= 12)
  t.machine.before = () => undefined
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1 })
})

test('invariant 12: nothing is ended where the driver cannot tell', async () => {
  await using t = await setUp()
  await using replica = await startReplica({ ...t, timings })
  await callOnce(replica.runners, t.alice)
  let observed = 0
  t.machine.before = (operation) => {
    if (operation === 'observe') {
      observed++
      throw new Error('the cluster does not answer')
    }
    return operation === 'health' ? never : undefined
  }
  await until(() => observed >= 3)
  await sleep(20)
  t.machine.before = () => undefined
  expect(await rowOf(t.store, t.alice)).toMatchObject({ state: 'ready', generation: 1 })
})

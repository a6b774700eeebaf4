import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createLoopShare } from '../../src/egress/bounds/loop-share.ts'

/** Has the loop turn without a pause for so many ms. */
async function keepLoopBusy(ms: number) {
  for (const end = performance.now() + ms; performance.now() < end; ) await turn()
}

test('who takes more than three quarters of the time waits until that is paid off, and nobody else does', () => {
  const share = createLoopShare()
  const alice = share.of('alice')
  let now = 1_000
  let taken = 0
  for (const end = now + 6_000; now < end; now += 0.25) {
    while (alice.isFree(now)) {
      alice.took(0.5, now)
      taken += 0.5
    }
    expect(share.of('bob').isFree(now)).toBe(true)
  }
  expect(taken / 6_000).toBeGreaterThan(0.74)
  expect(taken / 6_000).toBeLessThan(0.76)
})

test('what is done now and then never waits, and what was saved in a long silence is two milliseconds', () => {
  const part = createLoopShare().of('alice')
  let now = 1_000
  for (let round = 0; round < 1_000; round += 1) {
    now += 10
    expect(part.isFree(now)).toBe(true)
    part.took(7, now)
  }
  now += 3_600_000
  part.took(1.4, now)
  expect(part.isFree(now)).toBe(true)
  part.took(0.2, now)
  expect(part.isFree(now)).toBe(false)
})

test('all connections of a person are one, and whoever has something waiting waits with all that comes', () => {
  const share = createLoopShare()
  expect(share.of('alice')).toBe(share.of('alice'))
  share.of('alice').later(() => false)
  expect(share.of('alice').isFree(performance.now())).toBe(false)
})

test('a turn does a little of what waits, of one person after another, and what is left in the next', async () => {
  const share = createLoopShare()
  const done: string[] = []
  const long = (name: string) => {
    let left = 3
    share.of(name).later(() => {
      done.push(name)
      for (const until = performance.now() + 0.6; performance.now() < until; );
      left -= 1
      return left > 0
    })
  }
  for (const name of ['alice', 'alice', 'bob']) long(name)
  let turns = 0
  for (; done.length < 9; turns += 1) await turn()
  expect(turns).toBeGreaterThanOrEqual(9)
  // Alice has two that wait, and no more turns for that while Bob has any.
  expect(done.slice(0, 6)).toEqual(['alice', 'bob', 'alice', 'bob', 'alice', 'bob'])
  await turn()
  expect(done).toHaveLength(9)
})

test('readers are held together, released one after the other when that is paid off, and left alone once gone', async () => {
  const part = createLoopShare().of('alice')
  const said: string[] = []
  const reader = (name: string) => ({
    hold: () => void said.push(`${name} held`),
    release: () => void said.push(`${name} released`),
    look: () => false,
  })
  const [one, two, three] = [reader('one'), reader('two'), reader('three')]
  part.join(one)
  part.join(two)
  const leave = part.join(three)
  part.took(30, performance.now())
  part.hold(one)
  expect(said).toEqual(['one held', 'two held', 'three held'])
  // Something has set it going again.
  part.hold(two)
  expect(said.splice(0)).toEqual(['one held', 'two held', 'three held', 'two held'])
  leave()
  await sleep(20)
  expect(said).toEqual([])
  await expect.poll(() => said).toEqual(['one released', 'two released'])
})

test('a reader that takes more as soon as it is released keeps the others waiting until that is paid off too', async () => {
  const part = createLoopShare().of('alice')
  const released: number[] = []
  const greedy = {
    hold: () => undefined,
    look: () => false,
    release: () => {
      if (released.push(performance.now()) > 2) return
      part.took(15, performance.now())
      part.hold(greedy)
    },
  }
  const others = [1, 2].map(() => ({
    hold: () => undefined,
    release: () => void released.push(performance.now()),
    look: () => false,
  }))
  part.join(greedy)
  for (const other of others) part.join(other)
  part.took(15, performance.now())
  part.hold(greedy)
  await expect.poll(() => released.length).toBeGreaterThanOrEqual(4)
  const [first = 0, second = 0, third = 0, fourth = 0] = released
  expect(second - first).toBeGreaterThan(15)
  expect(third - second).toBeLessThan(10)
  // Who was released, and read, has gone behind the others.
  expect(fourth - third).toBeLessThan(10)
})

test('readers are looked at every ten milliseconds of a busy loop, each turn while that is worth it and behind a release, and no more once gone', async () => {
  const part = createLoopShare().of('alice')
  let looks = 0
  // Once it is worth it each look leads to another, and a test that has just begun is busy.
  let isBusy = false
  const reader = {
    hold: () => undefined,
    release: () => undefined,
    look() {
      looks += 1
      return isBusy
    },
  }
  const leave = part.join(reader)
  await sleep(100)
  expect(looks).toBeLessThanOrEqual(3)
  isBusy = true
  await keepLoopBusy(50)
  expect(looks).toBeGreaterThan(0)
  for (let turns = 0; turns < 10; turns += 1) await turn()
  expect(looks).toBeGreaterThanOrEqual(10)
  isBusy = false
  await turn()
  await turn()
  looks = 0
  await keepLoopBusy(50)
  expect(looks).toBeGreaterThan(0)
  expect(looks).toBeLessThanOrEqual(6)
  looks = 0
  part.hold(reader)
  await turn()
  await turn()
  await turn()
  expect(looks).toBeGreaterThan(0)
  leave()
  looks = 0
  await keepLoopBusy(30)
  expect(looks).toBe(0)
})

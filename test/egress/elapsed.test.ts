import { expect, test } from 'vitest'
import { createElapsed } from '../../src/egress/elapsed.ts'

/** A machine that is awake since a while: `run` lets both its clocks go on, `sleep` and `set` the wall clock alone. */
function machine() {
  let awakeMs = 5_000
  let wallMs = 1_700_000_000_000
  const slept: number[] = []
  const elapsed = createElapsed({
    wall: () => wallMs,
    awake: () => awakeMs,
    slept: (ms) => slept.push(ms),
  })
  return {
    elapsed,
    slept,
    run: (ms: number) => {
      awakeMs += ms
      wallMs += ms
    },
    set: (ms: number) => {
      wallMs += ms
    },
  }
}

test('what a machine sleeps counts, and is told once', () => {
  const { elapsed, slept, run, set: sleep } = machine()
  const before = elapsed()
  run(100)
  sleep(60_000)
  expect(elapsed() - before).toBe(60_100)
  run(10)
  expect(elapsed() - before).toBe(60_110)
  expect(slept).toEqual([60_000])
})

test('a wall clock that is set back, or right a little at a time, makes nothing older or younger', () => {
  const { elapsed, slept, run, set } = machine()
  const before = elapsed()
  set(-3_600_000)
  expect(elapsed() - before).toBe(0)
  for (let i = 0; i < 40; i += 1) {
    run(1_000)
    set(i % 2 === 0 ? 1 : -1)
    elapsed()
  }
  expect(elapsed() - before).toBe(40_000)
  expect(slept).toEqual([])
  set(3_600_000)
  expect(elapsed() - before).toBe(3_640_000)
})

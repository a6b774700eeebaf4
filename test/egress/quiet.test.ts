import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { giveBackWhenQuiet } from '../../src/egress/economy/quiet.ts'

/** Work in each look's time, in milliseconds of the processor, and the looks after which room was given back. */
async function givenBack(work: number[]): Promise<number[]> {
  const { promise: done, resolve } = Promise.withResolvers<void>()
  const given: number[] = []
  let look = -1
  let cpu = 0
  {
    using _ = giveBackWhenQuiet(1, {
      cpuMs() {
        if (look === work.length - 1) resolve()
        else if (look >= 0) cpu += work[look] ?? 0
        look += 1
        return cpu
      },
      giveBack: () => void given.push(look),
    })
    await done
  }
  const before = look
  await sleep(10)
  expect(look).toBe(before)
  return given
}

test('room is given back once more when what was made ready for the work is forgotten', async () => {
  const quiet = Array.from({ length: 25 }, () => 0)
  expect(await givenBack([5_000, ...quiet])).toEqual([2, 13])
})

test('room is given back once, after a quiet time behind work', async () => {
  expect(await givenBack([0, 0, 5_000, 5_000, 0, 0, 0, 2_000, 10, 10])).toEqual([5, 9])
})

test('the little that a proxy without requests does is no work', async () => {
  expect(await givenBack([200, 300, 999, 0, 0])).toEqual([])
})

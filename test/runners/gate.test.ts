import { expect, test } from 'vitest'
import { Gate } from '../../src/runners/gate.ts'

const never = new AbortController().signal

test('places are given in order of arrival, at once while there are some', async () => {
  const gate = new Gate({ places: 1, queue: 5, waitMs: 5_000 })
  expect(gate.enter(never)).toBeUndefined()
  const order: number[] = []
  const waiting = [1, 2, 3].map(async (n) => {
    await gate.enter(never)
    order.push(n)
    gate.leave()
  })
  gate.leave()
  await Promise.all(waiting)
  expect(order).toEqual([1, 2, 3])
  expect(gate.enter(never)).toBeUndefined()
})

test('a full queue, a long wait and a cancelled wait each end with their own error and keep no place', async () => {
  const gate = new Gate({ places: 1, queue: 1, waitMs: 30 })
  void gate.enter(never)
  const late = gate.enter(never)
  await expect(gate.enter(never)).rejects.toMatchObject({ code: 'runner_busy' })
  await expect(late).rejects.toMatchObject({ code: 'runner_busy' })
  const cancel = new AbortController()
  const waiting = gate.enter(cancel.signal)
  cancel.abort()
  await expect(waiting).rejects.toMatchObject({ code: 'call_cancelled' })
  gate.leave()
  expect(gate.enter(never)).toBeUndefined()
})

import { expect, test } from 'vitest'
import { createRounds } from '../../src/egress/bounds/rounds.ts'

test('whatever is watched is looked at again and again, until a look was the last or it has left', async () => {
  const rounds = createRounds()
  const began = performance.now()
  const looked: string[] = []
  const look = (name: string, most: number) => (now: number) => {
    expect(now).toBeGreaterThan(began)
    looked.push(name)
    return looked.filter((one) => one === name).length === most
  }
  rounds.watch(look('once', 1))
  rounds.watch(look('twice', 2))
  rounds.watch(look('left', 1))()
  rounds.watch(look('always', Number.POSITIVE_INFINITY))
  await expect.poll(() => looked.filter((name) => name === 'always').length, { timeout: 10_000 }).toBe(3)
  expect(looked.toSorted()).toEqual(['always', 'always', 'always', 'once', 'twice', 'twice'])
  rounds.close()
})

test('rounds that are closed look at nothing more', async () => {
  const rounds = createRounds()
  let looks = 0
  rounds.watch(() => {
    looks += 1
    return false
  })
  rounds.close()
  await new Promise((resolve) => setTimeout(resolve, 1_200))
  expect(looks).toBe(0)
})

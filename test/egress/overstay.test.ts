import { expect, test } from 'vitest'
import { createOverstayWatch } from '../../src/egress/bounds/overstay.ts'

test('what stays too long is told once, within a second of its time; who left, or was given more, is not', async () => {
  const watch = createOverstayWatch()
  const began = performance.now()
  const told: string[] = []
  const stay = (name: string, ms: number) => ({
    until: began + ms,
    over() {
      told.push(name)
    },
  })
  const prolonged = stay('prolonged', 100)
  watch.watch(prolonged)
  watch.watch(stay('late', 100))
  const leave = watch.watch(stay('left', 100))
  leave()
  prolonged.until = Number.POSITIVE_INFINITY
  await expect.poll(() => told, { timeout: 5_000 }).toEqual(['late'])
  expect(performance.now() - began).toBeGreaterThan(100)
  prolonged.until = began + 200
  await expect.poll(() => told, { timeout: 5_000 }).toEqual(['late', 'prolonged'])
  watch.close()
})

test('a watch that is closed tells nothing more', async () => {
  const watch = createOverstayWatch()
  const told: string[] = []
  watch.watch({ until: 0, over: () => told.push('late') })
  watch.close()
  await new Promise((resolve) => setTimeout(resolve, 1_200))
  expect(told).toEqual([])
})

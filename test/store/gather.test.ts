import fc from 'fast-check'
import { expect, test } from 'vitest'
import { gather } from '../../src/store/gather.ts'

/** A database that answers when it is told to. */
function statements(answer: (items: number[]) => number[] = (items) => items) {
  const sent: number[][] = []
  const open: (() => void)[] = []
  return {
    sent,
    run: async (items: number[]) => {
      sent.push(items)
      await new Promise<void>((resolve) => open.push(resolve))
      return answer(items)
    },
    async finish() {
      open.shift()?.()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

test('a lone item goes at once, and those that come meanwhile go together', async () => {
  const database = statements()
  const add = gather<number, number>({ atOnce: 1, most: 10, run: database.run })
  const all = [1, 2, 3].map(async (item) => await add(item))
  expect(database.sent).toEqual([[1]])
  await database.finish()
  expect(database.sent).toEqual([[1], [2, 3]])
  await database.finish()
  expect(await Promise.all(all)).toEqual([1, 2, 3])
})

test('a patient item goes with the next one, or alone when its patience is over', async () => {
  const database = statements()
  const add = gather<number, number>({ atOnce: 1, most: 10, run: database.run })
  const patient = add(1, 60_000)
  expect(database.sent).toEqual([])
  const both = [patient, add(2)]
  expect(database.sent).toEqual([[1, 2]])
  await database.finish()
  expect(await Promise.all(both)).toEqual([1, 2])
  const alone = add(3, 1)
  await expect.poll(() => database.sent).toEqual([[1, 2], [3]])
  await database.finish()
  expect(await alone).toBe(3)
})

test('refused data fails its own item only; any other failure fails the whole statement and repeats nothing', async () => {
  let code = '22P05'
  const sent: number[][] = []
  const add = gather<number, number>({
    atOnce: 1,
    most: 10,
    run: async (items) => {
      sent.push(items)
      await new Promise((resolve) => setImmediate(resolve))
      if (items.includes(3)) throw Object.assign(new Error('refused'), { code })
      return items
    },
  })
  const first = await Promise.allSettled([1, 2, 3, 4].map(async (item) => await add(item)))
  expect(first.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  code = '57P01'
  sent.length = 0
  const second = await Promise.allSettled([1, 2, 3, 4].map(async (item) => await add(item)))
  expect(second.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected'])
  expect(sent).toEqual([[1], [2, 3, 4]])
})

test('every item is sent exactly once and gets its own result, whatever comes when', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ gap: fc.nat(2), patience: fc.nat(2), takes: fc.nat(2) }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 5 }),
      async (plan, atOnce, most) => {
        const sent: number[] = []
        let underWay = 0
        const add = gather<number, string>({
          atOnce,
          most,
          run: async (items) => {
            underWay += 1
            expect(underWay).toBeLessThanOrEqual(atOnce)
            expect(items.length).toBeLessThanOrEqual(most)
            sent.push(...items)
            for (let turn = plan[items[0] ?? 0]?.takes ?? 0; turn >= 0; turn--) await Promise.resolve()
            underWay -= 1
            return items.map(String)
          },
        })
        const results: Promise<string>[] = []
        for (const [item, { gap, patience }] of plan.entries()) {
          results.push(add(item, patience))
          for (let turn = 0; turn < gap; turn++) await Promise.resolve()
        }
        expect(await Promise.all(results)).toEqual(plan.map((_, item) => String(item)))
        expect(sent.toSorted((a, b) => a - b)).toEqual(plan.map((_, item) => item))
      },
    ),
    { numRuns: 100 },
  )
})

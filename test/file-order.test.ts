import { expect, test } from 'vitest'
import { ordered } from './support/file-order.ts'

test('files that start processes run early, with others between them, and every file runs once', () => {
  const files = [
    ...Array.from({ length: 10 }, (_, index) => ({ moduleId: `/x/test/egress/${index}.test.ts` })),
    { moduleId: '/x/test/dev/life.test.ts' },
    { moduleId: '/x/test/runners/local/contract.test.ts' },
  ]
  const order = ordered(files)
  expect(order.map(({ moduleId }) => files.findIndex((file) => file.moduleId === moduleId))).toEqual([
    10, 0, 1, 2, 3, 11, 4, 5, 6, 7, 8, 9,
  ])
  expect(ordered(files.slice(10))).toEqual(files.slice(10))
})

import { expect, test } from 'vitest'
import { loadTarget, targets } from './fuzz/main.ts'

test.each(targets)('two seconds of fuzzing find nothing wrong with the %s', async (name) => {
  const fuzz = await loadTarget(name)
  // Another seed each time; a finding names it, and `npm run fuzz -- --seed N` has it again.
  const { tried, accepted } = await fuzz({
    seed: Date.now() % 1_000_000_000,
    deadline: performance.now() + 2_000,
  })
  expect(tried).toBeGreaterThan(100)
  expect(accepted).toBeGreaterThan(10)
})

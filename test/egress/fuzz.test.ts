import { expect, test } from 'vitest'
import { testStore } from '../support/database.ts'
import { loadTarget, targets } from './fuzz/main.ts'

/** What goes over the wire mostly waits, and in two seconds of a busy machine would try little. */
const overTheWire = ['http1', 'http2']

/** Another each time; a finding names it, and `npm run fuzz -- --seed N` has it again. */
const seed = () => Date.now() % 1_000_000_000

test.each(targets.filter((name) => !overTheWire.includes(name)))(
  'two seconds of fuzzing find nothing wrong with the %s',
  async (name) => {
    const fuzz = await loadTarget(name)
    const { tried, accepted } = await fuzz({
      seed: seed(),
      deadline: performance.now() + 2_000,
      most: Number.POSITIVE_INFINITY,
      openStore: testStore,
    })
    // As many as a machine does that has ten others to serve.
    expect(tried).toBeGreaterThan(20)
    expect(accepted).toBeGreaterThan(5)
  },
)

test.each(overTheWire)(
  '150 sequences of requests find nothing wrong with what the proxy makes of %s',
  { timeout: 180_000 },
  async (name) => {
    const fuzz = await loadTarget(name)
    const { tried, accepted } = await fuzz({
      seed: seed(),
      deadline: Number.POSITIVE_INFINITY,
      most: 150,
      openStore: testStore,
    })
    expect(tried).toBe(150)
    expect(accepted).toBeGreaterThan(100)
  },
)

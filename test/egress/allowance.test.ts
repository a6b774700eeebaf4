import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createBudget } from '../../src/egress/bounds/budget.ts'

test('in no window does anybody spend more than the size and what came back meanwhile, nor all together', () => {
  const step = fc.record({
    who: fc.constantFrom('a', 'b', 'c'),
    amount: fc.integer({ min: 1, max: 5 }),
    pauseMs: fc.integer({ min: 0, max: 300 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      let now = 0
      const budget = createBudget({ perPrincipal: 20, total: 40, windowMs: 1_000, now: () => now })
      const spent = { a: 0, b: 0, c: 0 }
      for (const { who, amount, pauseMs } of steps) {
        now += pauseMs
        const refused = budget.spend(who as 'a', amount)
        expect(refused?.waitSeconds ?? 1).toBeGreaterThan(0)
        if (refused === undefined) spent[who as 'a'] += amount
        // The last thing that was begun may overdraw.
        expect(spent[who as 'a']).toBeLessThanOrEqual(20 + (now * 20) / 1_000 + 5)
        expect(spent.a + spent.b + spent.c).toBeLessThanOrEqual(40 + (now * 40) / 1_000 + 5)
      }
    }),
  )
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createAllowance } from '../../src/egress/bounds/allowance.ts'
import { createBudget } from '../../src/egress/bounds/budget.ts'

test('in no window does anybody spend more than the size and what came back meanwhile, nor all together', () => {
  const step = fc.record({
    // So many that the total is used up before each has had their own.
    who: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    amount: fc.integer({ min: 1, max: 5 }),
    pauseMs: fc.integer({ min: 0, max: 50 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      let now = 0
      const budget = createBudget({ perPrincipal: 20, total: 40, windowMs: 1_000, now: () => now })
      const spent: Record<string, number> = {}
      const allSpent = () => Object.values(spent).reduce((sum, each) => sum + each, 0)
      for (const { who, amount, pauseMs } of steps) {
        now += pauseMs
        const refused = budget.spend(who, amount)
        expect(refused?.waitSeconds ?? 1).toBeGreaterThan(0)
        if (refused === undefined) spent[who] = (spent[who] ?? 0) + amount
        // The last thing that was begun may overdraw.
        expect(spent[who] ?? 0).toBeLessThanOrEqual(20 + (now * 20) / 1_000 + 5)
        expect(allSpent()).toBeLessThanOrEqual(40 + (now * 40) / 1_000 + 5)
      }
    }),
  )
})

test('with the total used up another person is refused by it, until it has come back', () => {
  let now = 0
  const budget = createBudget({ perPrincipal: 20, total: 40, windowMs: 60_000, now: () => now })
  for (const who of ['a', 'b']) expect(budget.spend(who, 20)).toBeUndefined()
  expect(budget.spend('c', 1)).toEqual({ by: 'total', waitSeconds: 2 })
  expect(budget.spend('a', 1)).toEqual({ by: 'principal', waitSeconds: 3 })
  now += 2_000
  expect(budget.spend('c', 1)).toBeUndefined()
})

test('requests come back over a minute, bytes over an hour, and a clock that is set back takes nothing away', () => {
  let now = 7_200_000
  const allowance = createAllowance({
    requestsPerMinutePerPrincipal: 1,
    requestsPerMinute: 100,
    sentPerHourPerPrincipal: 1,
    sentPerHour: 100,
    now: () => now,
  })
  expect(allowance.begin('a', 0)).toBeUndefined()
  expect(allowance.begin('a', 0)).toEqual({ reason: 'request_rate_exceeded', retryAfterSeconds: 60 })
  expect(allowance.send('a', 1)).toBeUndefined()
  expect(allowance.send('a', 1)).toEqual({ reason: 'sent_bytes_exceeded', retryAfterSeconds: 3_600 })
  now -= 3_600_000
  expect(allowance.begin('a', 0)).toEqual({ reason: 'request_rate_exceeded', retryAfterSeconds: 60 })
  now += 60_000
  expect(allowance.begin('a', 0)).toEqual({ reason: 'sent_bytes_exceeded', retryAfterSeconds: 3_600 })
})

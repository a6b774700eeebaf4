import { afterEach, expect, test, vi } from 'vitest'
import { createLimit, createMeter } from '../../src/egress/bounds/limits.ts'

afterEach(() => void vi.useRealTimers())

test('a place is given back once, however often that is said, and there are only so many for all', () => {
  const limit = createLimit({ perPrincipal: 2, total: 3 })
  const places = ['a', 'a', 'b'].map((who) => limit.take(who))
  expect(limit.take('a')).toBe('principal')
  expect(limit.take('b')).toBe('total')
  const [first] = places
  for (let times = 0; times < 3; times += 1) if (typeof first === 'function') first()
  expect(limit.take('b')).toBeTypeOf('function')
  expect(limit.take('c')).toBe('total')
})

test('a meter lets through again after a minute, also when the clock was set back by an hour', () => {
  vi.useFakeTimers({ toFake: ['Date', 'performance'] })
  const meter = createMeter(1)
  expect(meter.pass()).toBe(0)
  expect(meter.pass()).toBe(undefined)
  vi.setSystemTime(Date.now() - 3_600_000)
  vi.advanceTimersByTime(59_000)
  expect(meter.pass()).toBe(undefined)
  vi.advanceTimersByTime(1_000)
  expect(meter.pass()).toBe(2)
})

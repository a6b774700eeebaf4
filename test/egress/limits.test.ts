import { afterEach, expect, test, vi } from 'vitest'
import { createMeter } from '../../src/egress/bounds/limits.ts'

afterEach(() => void vi.useRealTimers())

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

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { EvenScrubber } from '../../src/egress/secrets/even-scrubber.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { Lull } from '../../src/egress/traffic/lull.ts'

/** What a pause is, by a clock that the test sets. */
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

function startSearch() {
  const search = new EvenScrubber(compileSecrets(['S3cr3t+Value/for="orders"-0123456789']))
  const went: string[] = []
  let isHeld = false
  const lull = new Lull({
    search,
    isHeld: () => isHeld,
    letGo: () => void went.push(search.takeMarked().toString()),
  })
  return {
    went,
    lull,
    comes: (text: string) => {
      search.push(Buffer.from(text))
      lull.wait()
    },
    hold: (now: boolean) => void (isHeld = now),
  }
}

test('in a pause goes on what has waited so long, and what came in the meantime when it has', () => {
  const { went, comes } = startSearch()
  comes('one ')
  vi.advanceTimersByTime(40)
  comes('two ')
  expect(went).toEqual([])
  vi.advanceTimersByTime(10)
  expect(went).toEqual(['one '])
  vi.advanceTimersByTime(50)
  expect(went).toEqual(['one ', 'two '])
  expect(vi.getTimerCount()).toBe(0)
})

test('what may begin a credential and is more than may be known waits on, without a clock', () => {
  const { went, comes } = startSearch()
  comes('one S3cr3t+Val')
  vi.advanceTimersByTime(500)
  expect(went).toEqual(['one '])
  expect(vi.getTimerCount()).toBe(0)
  comes('ley-Lane')
  vi.advanceTimersByTime(50)
  expect(went).toEqual(['one ', 'S3cr3t+Valley-Lane'])
})

test('a stream that is made to wait has not paused: it does so from when it goes on', () => {
  const { went, comes, hold, lull } = startSearch()
  comes('one ')
  hold(true)
  vi.advanceTimersByTime(240)
  expect(went).toEqual([])
  hold(false)
  lull.restart()
  vi.advanceTimersByTime(49)
  expect(went).toEqual([])
  vi.advanceTimersByTime(1)
  expect(went).toEqual(['one '])
})

test('nothing goes on behind the end', () => {
  const { went, comes, lull } = startSearch()
  comes('one ')
  lull.end()
  comes('two ')
  lull.restart()
  vi.advanceTimersByTime(500)
  expect(went).toEqual([])
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from '../../src/core/index.ts'

test('what a duration is written as reads back as the same time', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 999_999 }), (minutes) => {
      expect(parseDuration(formatDuration(minutes * 60_000))).toBe(minutes * 60_000)
    }),
  )
})

test('durations are whole numbers of minutes, hours or days, and nothing else', () => {
  expect(['30m', '12h', '7d'].map(parseDuration)).toEqual([1_800_000, 43_200_000, 604_800_000])
  expect([604_800_000, 43_200_000, 90 * 60_000, 1].map(formatDuration)).toEqual(['7d', '12h', '90m', '1m'])
  const said = /is not a duration; write a whole number and m, h or d, e\.g\. 30m, 12h, 7d/
  for (const wrong of [
    '',
    '7',
    'd',
    '0d',
    '07d',
    '-1d',
    '1.5d',
    '7 d',
    '7D',
    '1w',
    '1d2h',
    '9999999d',
    '7d\n',
  ]) {
    expect(() => parseDuration(wrong)).toThrow(said)
  }
  fc.assert(
    fc.property(fc.string(), (text) => {
      fc.pre(!/^[1-9]\d{0,5}[mhd]$/.test(text))
      expect(() => parseDuration(text)).toThrow(said)
    }),
  )
})

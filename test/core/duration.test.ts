import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration, sayDuration, understandDuration } from '../../src/core/index.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

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

test('a duration said by us is understood by us', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 * 24 * 60 }), (minutes) => {
      expect(understandDuration(sayDuration(minutes * minute))).toBe(minutes * minute)
    }),
  )
  expect(sayDuration(7 * day)).toBe('7 days')
  expect(sayDuration(day)).toBe('1 day')
  expect(sayDuration(28 * day)).toBe('4 weeks')
  expect(sayDuration(36 * hour)).toBe('36 hours')
  for (const text of ['', 'd', '7', '-7d', '7.5d', '7ms', '7dayss', '7constructor'])
    expect(understandDuration(text)).toBeUndefined()
})

import { expect, test } from 'vitest'
import { createLog, createTrouble } from '../../src/core/index.ts'

/** A story with a clock that the test moves. */
function setUp() {
  const lines: Record<string, unknown>[] = []
  const log = createLog(
    { level: 'info', name: 'test' },
    { write: (line) => void lines.push(JSON.parse(line)) },
  )
  let at = 0
  const trouble = createTrouble(log, { fails: 'fails', lasts: 'lasts', over: 'over' }, () => at)
  return {
    lines,
    trouble,
    pass: (ms: number) => {
      at += ms
    },
  }
}

test('an hour of one cause is one stack and a few lines, further and further apart, and a line when it is over', () => {
  const t = setUp()
  for (let second = 0; second < 3_600; second++) {
    t.trouble.happened('claim', new Error('connect ECONNREFUSED'))
    t.trouble.happened('compare', new Error('connect ECONNREFUSED'))
    t.pass(1_000)
  }
  t.trouble.over('claim')
  t.trouble.over('claim')
  expect(t.lines.filter(({ msg }) => msg === 'over')).toEqual([])
  t.trouble.over('compare')
  expect(t.lines.filter(({ err }) => err !== undefined)).toHaveLength(1)
  const lasting = t.lines.filter(({ msg }) => msg === 'lasts').map(({ seconds }) => seconds)
  expect(lasting).toEqual([10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030])
  expect(t.lines.at(-1)).toMatchObject({ msg: 'over', failures: 7_200, seconds: 3_600, level: 30 })
  expect(t.lines).toHaveLength(12)
})

test('another cause is told in full, and the next time everything is told anew', () => {
  const t = setUp()
  t.trouble.over('claim')
  t.trouble.happened('claim', new Error('connect ECONNREFUSED'))
  t.trouble.happened('claim', new Error('the database system is starting up'))
  t.trouble.happened('claim', new Error('connect ECONNREFUSED'))
  t.trouble.over('claim')
  t.trouble.happened('claim', new Error('connect ECONNREFUSED'))
  expect(t.lines.map(({ msg }) => msg)).toEqual(['fails', 'fails', 'over', 'fails'])
})

test('what is not tried any more neither lasts, nor keeps what fails later from being told anew', () => {
  const t = setUp()
  t.trouble.happened('of one who left', new Error('refused'))
  t.pass(15 * 60_000)
  t.trouble.happened('claim', new Error('refused'))
  t.pass(15 * 60_000)
  t.trouble.over('claim')
  t.trouble.happened('claim', new Error('refused'))
  expect(t.lines.map(({ msg, what }) => [msg, what])).toEqual([
    ['fails', 'of one who left'],
    ['lasts', ['of one who left', 'claim']],
    ['over', undefined],
    ['fails', 'claim'],
  ])
})

test('a reminder names twenty of those that fail, and counts the others', () => {
  const t = setUp()
  for (let person = 0; person < 50; person++) t.trouble.happened(`person ${person}`, new Error('refused'))
  t.pass(10_000)
  t.trouble.happened('person 0', new Error('refused'))
  const { what, others } = t.lines.at(-1) ?? {}
  expect(what).toHaveLength(20)
  expect(others).toBe(30)
})

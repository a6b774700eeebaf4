import { expect, test } from 'vitest'
import { parameterIn } from '../../src/egress/request/parameter-name.ts'
import { queryMethods } from '../../src/egress/request/query-override.ts'

test('a name is known however it is written, and one that is too short to be it is none', () => {
  const takenFor = parameterIn(['method', '_method', 'i\u0307d'])
  for (const pair of [
    'method',
    'METHOD=x',
    'm%65thod',
    '%u006dethod',
    '[method]',
    '+method%20',
    'method%00x',
    'method[0]',
  ])
    expect([pair, takenFor(pair)]).toEqual([pair, 'method'])
  for (const pair of ['_method', '.method', '%5fmethod', ' .method']) expect(takenFor(pair)).toBe('_method')
  // One letter that is two in lower case.
  expect(takenFor('\u0130d=x')).toBe('i\u0307d')
  for (const pair of ['', 'metho', 'metho=d', 'methods', 'a=method', '%6dethox'])
    expect(takenFor(pair)).toBeUndefined()
  expect(parameterIn([])('method')).toBeUndefined()
})

test('row 40: a query of thousands of parameters is looked at in about the time that parting it takes', () => {
  /** The shortest of some, since a machine may pause. */
  const ms = (run: () => unknown) =>
    Math.min(
      ...Array.from({ length: 10 }, () => {
        const from = performance.now()
        run()
        return performance.now() - from
      }),
    )
  for (const pair of ['&', '&a', '&%61', '&+a']) {
    const query = `?%${pair.repeat(32_000 / pair.length)}`
    const parting = ms(() => query.split(/[&;]/))
    // Each was read once for every name that it might have been, which took more than a hundred times as long.
    expect([pair, ms(() => queryMethods(query, 'GET')) / parting]).toEqual([
      pair,
      expect.toSatisfy((times) => times < 30),
    ])
  }
})

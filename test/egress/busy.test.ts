import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { quietMoment, underWay, writeTogether } from '../../src/egress/economy/busy.ts'

test('a quiet moment is at once where no request is under way, and else when the last has ended', async () => {
  await quietMoment(60_000)
  const ends = [underWay(), underWay()]
  let isQuiet = false
  const quiet = quietMoment(60_000).then(() => {
    isQuiet = true
  })
  ends[0]?.()
  await nextTurn()
  expect(isQuiet).toBe(false)
  ends[1]?.()
  await quiet
})

test('who waits for a quiet moment waits no longer than was said', async () => {
  const end = underWay()
  const began = performance.now()
  await quietMoment(20)
  expect(performance.now() - began).toBeGreaterThan(15)
  end()
})

test('who waited as long as was said is not woken again, however long some request is under way', async () => {
  const wakes = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Immediate').length
  const end = underWay()
  await Promise.all(Array.from({ length: 100 }, () => quietMoment(1)))
  const before = wakes()
  end()
  expect(wakes() - before).toBe(0)
})

test('in a burst what is written leaves in the order asked, once what has arrived is dealt with; else at once', async () => {
  const written: string[] = []
  writeTogether(() => written.push('alone'))
  expect(written).toEqual(['alone'])
  const ends = Array.from({ length: 4 }, () => underWay())
  writeTogether(() => written.push('first'))
  await Promise.resolve()
  writeTogether(() => written.push('second'))
  expect(written).toEqual(['alone'])
  await sleep(0)
  await nextTurn()
  expect(written).toEqual(['alone', 'first', 'second'])
  for (const end of ends) end()
})

import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { newId, silentLog } from '../../src/core/index.ts'
import { startHeartbeat } from '../../src/store/index.ts'
import { cutOff, testStore } from '../support/database.ts'
import { until } from '../support/until.ts'

test('invariant 12: after an outage of the database a replica must be heard anew before it may judge others', async () => {
  await using store = await testStore()
  const replica = { id: newId('rep'), kind: 'gateway', host: hostname() } as const
  await using heartbeat = startHeartbeat({ store, log: silentLog, replica, everyMs: 50, freshMs: 1_000 })
  expect(heartbeat.wasHeardFor(0)).toBe(false)
  await until(() => heartbeat.wasHeardFor(1_500))
  let stillOut: number
  {
    await using _outage = await cutOff(store)
    await until(() => !heartbeat.isFresh())
    expect(heartbeat.wasHeardFor(0)).toBe(false)
    stillOut = performance.now()
  }
  await until(() => heartbeat.isFresh())
  expect(heartbeat.wasHeardFor(performance.now() - stillOut)).toBe(false)
  await until(() => heartbeat.wasHeardFor(1_500))
})

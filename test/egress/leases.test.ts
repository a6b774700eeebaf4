import { expect, test } from 'vitest'
import { sha256, silentLog } from '../../src/core/index.ts'
import { createLeases } from '../../src/egress/leases/leases.ts'
import { createLive, type LiveEntry } from '../../src/egress/leases/live.ts'
import { makeWorld } from '../support/egress-world.ts'

/** A look has been sent to the database by then, and nothing has come back. */
async function untilAsked(): Promise<void> {
  for (let turns = 0; turns < 3; turns += 1) await Promise.resolve()
}

test('what a look found that began before a notice is not kept after it', async () => {
  await using world = await makeWorld()
  const leases = createLeases({ store: world.store, maxAgeMs: 60_000, log: silentLog })
  const digest = sha256(world.lease)
  const looking = leases.look(digest)
  await untilAsked()
  leases.invalidate()
  expect(await looking).toMatchObject({ sourceId: 'orders' })
  expect(leases.current(digest)).toBeInstanceOf(Promise)
  expect(await leases.current(digest)).toMatchObject({ sourceId: 'orders' })
  expect(leases.current(digest)).not.toBeInstanceOf(Promise)
  leases.close()
})

test('whoever waits for a look as a proxy ends is told so', async () => {
  await using world = await makeWorld()
  const leases = createLeases({ store: world.store, maxAgeMs: 60_000, log: silentLog })
  const underWay = leases.look(sha256(world.lease))
  await untilAsked()
  const waiting = leases.look(sha256('another'))
  leases.close()
  await expect(waiting).rejects.toThrow('the proxy is closing')
  await expect(leases.look(sha256(world.lease))).rejects.toThrow('the proxy is closing')
  expect(await underWay).toMatchObject({ sourceId: 'orders' })
})

test('a proxy that ends ends what is under way, and what only comes then as soon as it does', async () => {
  const live = createLive({
    rulesAt: () => Promise.reject(new Error('nobody asks')),
    now: () => 0,
    log: silentLog,
  })
  const ended: string[] = []
  const entry = (name: string) =>
    ({
      identity: { secretSha256: 'a', catalogVersion: 1 },
      warned: false,
      allowed: () => true,
      end: () => ended.push(name),
    }) as unknown as LiveEntry
  live.add(entry('before'))
  live.close()
  expect(ended).toEqual(['before'])
  live.add(entry('after'))
  await expect.poll(() => ended).toEqual(['before', 'after'])
})

import { expect, test } from 'vitest'
import { sha256, silentLog } from '../../src/core/index.ts'
import { createLeases } from '../../src/egress/leases/leases.ts'
import { createLive, type LiveEntry } from '../../src/egress/leases/live.ts'
import { makeWorld } from '../support/egress-world.ts'

const elapsed = () => performance.now()

/** A look has been sent to the database by then, and nothing has come back. */
async function untilAsked(): Promise<void> {
  for (let turns = 0; turns < 3; turns += 1) await Promise.resolve()
}

test('what a look found that began before a notice is not kept after it', async () => {
  await using world = await makeWorld()
  const leases = createLeases({ store: world.store, maxAgeMs: 60_000, elapsed, log: silentLog })
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

test('what a look finds ended is not answered from an earlier look, however new that is', async () => {
  await using world = await makeWorld()
  const leases = createLeases({ store: world.store, maxAgeMs: 60_000, elapsed, log: silentLog })
  const digest = sha256(world.lease)
  expect(await leases.current(digest)).toMatchObject({ sourceId: 'orders' })
  await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
  expect(await leases.look(digest)).toBeUndefined()
  expect(await leases.current(digest)).toBeUndefined()
  leases.close()
})

test('whoever waits for a look as a proxy ends is told so', async () => {
  await using world = await makeWorld()
  const leases = createLeases({ store: world.store, maxAgeMs: 60_000, elapsed, log: silentLog })
  const underWay = leases.look(sha256(world.lease))
  await untilAsked()
  const waiting = leases.look(sha256('another'))
  leases.close()
  await expect(waiting).rejects.toThrow('the proxy is closing')
  await expect(leases.look(sha256(world.lease))).rejects.toThrow('the proxy is closing')
  expect(await underWay).toMatchObject({ sourceId: 'orders' })
})

test('an answer that lay about while the machine slept is asked for again', async () => {
  await using world = await makeWorld()
  let asleep = 0
  let looks = 0
  // The real pool; the machine sleeps once the first answer is there, and the lease ends meanwhile.
  const pool = Object.create(world.store.pool) as typeof world.store.pool
  const query = world.store.pool.query.bind(world.store.pool) as (asked: unknown) => Promise<unknown>
  Object.assign(pool, {
    async query(asked: unknown) {
      const answer = await query(asked)
      looks += 1
      if (looks === 1) {
        await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
        asleep = 60_000
      }
      return answer
    },
  })
  const leases = createLeases({
    store: { ...world.store, pool },
    maxAgeMs: 500,
    elapsed: () => performance.now() + asleep,
    log: silentLog,
  })
  expect(await leases.look(sha256(world.lease))).toBeUndefined()
  expect(looks).toBe(2)
  leases.close()
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

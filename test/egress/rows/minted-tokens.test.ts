import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { type MintWorld, makeEcho, makeMintWorld } from '../../support/minting.ts'
import { until } from '../../support/until.ts'

/** Beyond the age that a look at the tokens may have. */
const beyondLookMs = 700

const later = (minting: MintWorld, facts: object) =>
  minting.world.store.db.updateTable('minted_tokens').set(facts).execute()
const toBeRenewed = { renew_at: sql<Date>`now()` }
const aMinuteOld = { minted_at: sql<Date>`now() - interval '1 minute'` }
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('row 7: a token that is to be renewed is masked until it ends, also by a proxy that never had it', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  const { ask } = await makeEcho(minting)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  await later(minting, toBeRenewed)
  const answer = await ask('/open', await world.replica())
  expect(answer).toContain('said: ')
  expect(answer).not.toContain(server.issued[0])
  expect(server.asked).toHaveLength(1)
})

test('row 7: a renewed token is masked by every proxy until it ends, and its successor by those that have not used it', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  const { ask } = await makeEcho(minting)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  await later(minting, toBeRenewed)
  expect(await ask('/', await world.replica())).toMatch(/^HTTP\/1\.1 200/)
  expect(server.issued).toHaveLength(2)
  await sleep(beyondLookMs)
  const third = await world.replica()
  for (const answer of [
    await ask('/', third),
    await ask('/open', third),
    await ask('/open'),
    await ask('/'),
  ]) {
    expect(answer).toContain('said: ')
    for (const token of server.issued) expect(answer).not.toContain(token)
  }
  expect(server.issued).toHaveLength(2)
  // One that has ended is worth nothing, and no answer is searched for it.
  await world.store.db.updateTable('former_tokens').set({ expires_at: sql<Date>`now()` }).execute()
  expect(await ask('/open', await world.replica())).toContain(server.issued[0])
})

test('a route that is only searched is refused as unavailable while the tokens cannot be read', async () => {
  await using minting = await makeMintWorld()
  const { ask, arrived } = await makeEcho(minting)
  await sql`ALTER TABLE minted_tokens RENAME TO unreadable`.execute(minting.world.store.db)
  const answer = await ask('/open')
  expect(answer).toMatch(/^HTTP\/1\.1 503/)
  expect(answer).toContain('"reason":"leases_unavailable"')
  expect(arrived).toEqual([])
})

test('a refused token is not handed out again, however long the database takes to hear of it', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  let status = 200
  const { ask, arrived } = await makeEcho(minting, () => status)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  await later(minting, aMinuteOld)
  const other = await world.replica()
  const locked = Promise.withResolvers<void>()
  const unlock = Promise.withResolvers<void>()
  const holding = world.store.db.transaction().execute(async (tx) => {
    await tx.selectFrom('minted_tokens').selectAll().forUpdate().execute()
    locked.resolve()
    await unlock.promise
  })
  await locked.promise
  try {
    status = 401
    expect(await ask('/', other)).toMatch(/^HTTP\/1\.1 401/)
    status = 200
    const asking = ask('/', other)
    await Promise.race([asking, until(() => server.asked.length === 2)])
    unlock.resolve()
    expect(await asking).toMatch(/^HTTP\/1\.1 200/)
  } finally {
    unlock.resolve()
    await holding
  }
  expect(server.issued).toHaveLength(2)
  expect(arrived.at(-1)).toBe(`/ Bearer ${server.issued[1]}`)
})

test('a late refusal is of the token that was refused, not of the one that took its place', async () => {
  await using minting = await makeMintWorld()
  const { server } = minting
  const refuse = Promise.withResolvers<number>()
  const { ask, arrived } = await makeEcho(minting, (path) => (path === '/slow' ? refuse.promise : 200))
  const slow = ask('/slow')
  await until(() => arrived.length === 1)
  await later(minting, toBeRenewed)
  await sleep(beyondLookMs)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  expect(server.issued).toHaveLength(2)
  await later(minting, aMinuteOld)
  await sleep(beyondLookMs)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  refuse.resolve(401)
  expect(await slow).toMatch(/^HTTP\/1\.1 401/)
  await sleep(beyondLookMs)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  expect(server.issued).toHaveLength(2)
})

import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { type MintWorld, makeEcho, makeMintWorld } from '../support/minting.ts'

/** Beyond the age that a look at the tokens may have. */
const beyondLookMs = 700
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Time passes for every token that there is. */
async function pass(minting: MintWorld, hours: number): Promise<void> {
  const ago = sql<Date>`make_interval(secs => ${hours * 3_600})`
  const { db } = minting.world.store
  await sql`UPDATE minted_tokens SET minted_at = minted_at - ${ago}, renew_at = renew_at - ${ago},
    expires_at = expires_at - ${ago}`.execute(db)
  await sql`UPDATE former_tokens SET minted_at = minted_at - ${ago}, expires_at = expires_at - ${ago}`.execute(
    db,
  )
}

test.each([
  ['whose life is not stated', undefined, 29 * 24],
  ['that is good for thirty days', 30 * 86_400, 29 * 24],
  ['that is good for a year', 365 * 86_400, 364 * 24],
])('a token %s is renewed long before it is forgotten: it stays masked', async (_what, expiresIn, hours) => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  server.expiresIn = expiresIn
  const { ask } = await makeEcho(minting)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  await pass(minting, hours)
  expect(await ask('/', await world.replica())).not.toContain(server.issued[0])
  expect(server.issued).toHaveLength(2)
  // Now the first is a former one, to a proxy that has only heard of it.
  const answer = await ask('/open', await world.replica())
  expect(answer).toContain('said: ')
  for (const token of server.issued) expect(answer).not.toContain(token)
})

test('a token whose life is not stated is used for an hour', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  server.expiresIn = undefined
  const { ask } = await makeEcho(minting)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  await pass(minting, 0.9)
  expect(await ask('/', await world.replica())).toMatch(/^HTTP\/1\.1 200/)
  expect(server.issued).toHaveLength(1)
  await pass(minting, 0.2)
  expect(await ask('/', await world.replica())).toMatch(/^HTTP\/1\.1 200/)
  expect(server.issued).toHaveLength(2)
})

test('a token made with a client secret that an admin has replaced is masked by every proxy', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  const { ask } = await makeEcho(minting)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  server.clientSecret = 'another-client-secret'
  await minting.set('CLIENT_SECRET', server.clientSecret)
  await sleep(beyondLookMs)
  const other = await world.replica()
  // Before there is a token of the new secret, and after.
  for (const path of ['/open', '/', '/open'])
    for (const egress of [other, world.egress]) {
      const answer = await ask(path, egress)
      expect(answer).toContain('said: ')
      for (const token of server.issued) expect(answer).not.toContain(token)
    }
  expect(server.issued).toHaveLength(2)
})

test('a token that a proxy of the version before has kept is masked', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  const { ask } = await makeEcho(minting)
  expect(await ask('/')).toMatch(/^HTTP\/1\.1 200/)
  await world.store.db.updateTable('minted_tokens').set({ recipe: null }).execute()
  server.clientSecret = 'another-client-secret'
  await minting.set('CLIENT_SECRET', server.clientSecret)
  const answer = await ask('/', await world.replica())
  expect(answer).toContain('said: ')
  for (const token of server.issued) expect(answer).not.toContain(token)
})

test('a sandbox that gets a 401 at will makes a token be renewed ever more seldom, down to every five minutes', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  const { ask } = await makeEcho(minting, (path) => (path === '/no' ? 401 : 200))
  const second = 1 / 3_600
  await ask('/')
  /** Whether a 401 to a token of this age made another one be minted. */
  const renews = async (age: number) => {
    const before = server.issued.length
    await pass(minting, age * second)
    const proxy = await world.replica()
    expect(await ask('/no', proxy)).toMatch(/^HTTP\/1\.1 401/)
    expect(await ask('/', proxy)).toMatch(/^HTTP\/1\.1 200/)
    return server.issued.length > before
  }
  for (const seconds of [30, 60, 120, 240, 300, 300]) {
    expect(await renews(seconds - 15)).toBe(false)
    expect(await renews(16)).toBe(true)
  }
  // An hour later that is forgotten.
  await pass(minting, 1)
  await ask('/', await world.replica())
  expect(await renews(31)).toBe(true)
}, 60_000)

test('the token of another configuration of the same secret is not handed out', async () => {
  await using minting = await makeMintWorld()
  const { server, world } = minting
  const wide = await makeEcho(minting)
  await wide.ask('/')
  const narrow = await makeEcho(minting, undefined, { scopes: ['orders.read'] })
  await narrow.ask('/', await world.replica())
  expect(server.asked.map(({ form }) => form.get('scope'))).toEqual([
    'orders.read orders.write',
    'orders.read',
  ])
  expect(narrow.arrived).toEqual([`/ Bearer ${server.issued[1]}`])
})

import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { clientCredentials, makeMintWorld, refreshGrant } from '../support/minting.ts'
import { until } from '../support/until.ts'

/** What others do between a proxy's look for a token, its claim to ask for one, and what comes of that. */

test('a token that another proxy has kept between a look for it and the claim to ask is used, and none is asked for', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  const { db } = world.store
  await minting.mint(refreshGrant)
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  await sql`CREATE TABLE aside AS SELECT * FROM minted_tokens`.execute(db)
  await sql`DELETE FROM minted_tokens`.execute(db)
  await sql`CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO minted_tokens SELECT * FROM aside; RETURN NULL; END'`.execute(db)
  await sql`CREATE TRIGGER keep AFTER INSERT ON mint_claims EXECUTE FUNCTION keep()`.execute(db)
  expect(await ask({ egress: await world.replica() })).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked).toHaveLength(1)
  expect(await db.selectFrom('mint_claims').selectAll().execute()).toEqual([])
})

test('a refresh token that an admin sets while the old one is spent is kept, and what came of the old one is not', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  await minting.mint(refreshGrant)
  server.delayMs = 600
  const asking = ask()
  await until(() => server.asked.length === 1)
  await minting.set('REFRESH_TOKEN', 'refresh-token-of-the-admin')
  expect(await asking).toContain('"reason":"mint_unavailable"')
  expect(await world.store.db.selectFrom('minted_tokens').selectAll().execute()).toEqual([])
  server.refreshToken = 'refresh-token-of-the-admin'
  await until(async () => (await ask()).startsWith('HTTP/1.1 200'))
  expect(server.reused).toBe(0)
  expect(minting.bearers()).toEqual(server.issued.slice(1))
})

test('what comes of a claim that was lost meanwhile is not used', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  await minting.mint(clientCredentials)
  server.delayMs = 600
  const asking = ask()
  await until(() => server.asked.length === 1)
  await world.store.db.updateTable('mint_claims').set({ claim: 'mnt_of_another' }).execute()
  expect(await asking).toContain('"reason":"mint_unavailable"')
  expect(minting.bearers()).toEqual([])
  expect(await world.store.db.selectFrom('mint_claims').select('claim').execute()).toEqual([
    { claim: 'mnt_of_another' },
  ])
})

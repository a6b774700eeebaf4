import { expect, test } from 'vitest'
import { silentLog } from '../../src/core/index.ts'
import { openStore } from '../../src/store/index.ts'
import { testStore } from '../support/database.ts'
import { relayTo } from '../support/database-relay.ts'
import { makeMintWorld, refreshGrant } from '../support/minting.ts'

test('a token whose commit was answered on a connection that broke is kept, and used at once', async () => {
  await using owner = await testStore()
  await using relay = await relayTo(owner.url)
  await using store = openStore({ url: relay.url, poolSize: 8, log: silentLog })
  await using minting = await makeMintWorld({ store })
  const { world, server, ask, bearers } = minting
  await minting.mint(refreshGrant)
  relay.loseCommits(1)
  const answers = await Promise.all([ask(), ask()])
  for (const answer of answers) expect(answer).toMatch(/^HTTP\/1\.1 200/)
  expect(relay.lost).toBe(1)
  expect(server.asked).toHaveLength(1)
  expect(bearers()).toEqual([server.issued[0], server.issued[0]])
  expect(await world.events('credential.minted')).toHaveLength(1)
  expect(world.logged()).not.toContain('no token can be minted')
})

import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { Secret } from '../../src/core/index.ts'
import { createEgress, generateEgressKeys } from '../../src/egress/index.ts'
import type { RotateOptions } from '../../src/egress/keys/changing.ts'
import { readKeyFolder } from '../../src/egress/keys/key-folder.ts'
import { overviewKeys } from '../../src/egress/keys/overview.ts'
import { rotateSealingKey } from '../../src/egress/keys/rotate.ts'
import { tokenContext } from '../../src/egress/secrets/mint/tokens.ts'
import { demandEgressKey, egressKeys, putMintedToken } from '../../src/store/index.ts'
import { open, sealTo } from '../../src/vault/index.ts'
import { type MintWorld, makeEcho, makeMintWorld } from '../support/minting.ts'
import { until } from '../support/until.ts'

const folderOf = ({ world }: MintWorld) => join(dirname(dirname(world.egress.socketPath ?? '')), 'keys')

const rotate = async (minting: MintWorld, say: RotateOptions['say'] = () => undefined) =>
  await rotateSealingKey({
    store: minting.world.store,
    dir: folderOf(minting),
    by: 'test',
    now: Date.now(),
    waitMs: 10_000,
    say,
  })

/** A proxy that starts now and holds no key but those that the folder has. */
async function startedNow({ world }: MintWorld, dir: string, name = 'started-now') {
  return await createEgress({
    store: world.store,
    keys: await generateEgressKeys(dir, Date.now()),
    listen: { unixSocketDir: join(dirname(dir), name) },
    trustedCas: [world.upstreamCa],
    systemRoots: false,
    log: world.log,
  })
}

/** A world in which one token is a former one and one is current. */
async function makeTwoTokens() {
  const minting = await makeMintWorld()
  const echo = await makeEcho(minting)
  await echo.ask('/')
  await minting.world.store.db.updateTable('minted_tokens').set({ renew_at: sql<Date>`now()` }).execute()
  await echo.ask('/', await minting.world.replica())
  expect(minting.server.issued).toHaveLength(2)
  return { minting, echo, [Symbol.asyncDispose]: () => minting[Symbol.asyncDispose]() }
}

const everyKey = async ({ world }: MintWorld) =>
  (
    await sql<{ keyId: string }>`SELECT key_id AS "keyId" FROM minted_tokens
      UNION ALL SELECT key_id FROM former_tokens`.execute(world.store.db)
  ).rows.map(({ keyId }) => keyId)

test('after a rotation a proxy that starts searches for the tokens of before it, and need not mint another', async () => {
  await using two = await makeTwoTokens()
  const { minting, echo } = two
  const [before] = await egressKeys(minting.world.store.db)
  const dir = folderOf(minting)
  expect(await overviewKeys({ store: minting.world.store, dir })).toMatchObject({
    sealing: [{ id: before?.id, credentials: 3, tokens: 2 }],
  })
  const done = await rotate(minting)
  expect(done).toMatchObject({ resealed: 3, tokens: 2, unreadableTokens: 0, retired: [before?.id] })
  expect(await everyKey(minting)).toEqual([done.keyId, done.keyId])
  await using proxy = await startedNow(minting, dir)
  for (const path of ['/open', '/']) {
    const answer = await echo.ask(path, proxy)
    expect(answer).toContain('said: ')
    for (const token of minting.server.issued) expect(answer).not.toContain(token)
  }
  expect(minting.server.asked).toHaveLength(2)
  for (const token of minting.server.issued) expect(minting.world.logged()).not.toContain(token)
})

test('a token that is kept while its key is retired is neither lost nor left behind', async () => {
  await using two = await makeTwoTokens()
  const { minting } = two
  const { store } = minting.world
  const dir = folderOf(minting)
  const [old] = await egressKeys(store.db)
  const row = await store.db.selectFrom('minted_tokens').selectAll().executeTakeFirstOrThrow()
  const keyId = old?.id ?? ''
  const id = 'of a credential that was set anew'
  const sealed = await sealTo(old?.publicKey ?? '', new Secret('a late token'), tokenContext(id, keyId))
  const put = { id, credentialId: row.credential_id, recipe: row.recipe ?? '', keyId, sealed }
  const steps: string[] = []
  // As a slow proxy does that looked up the key before the rotation: what it writes is not yet to be seen.
  let rotating: ReturnType<typeof rotate> | undefined
  await store.db.transaction().execute(async (tx) => {
    await demandEgressKey(tx, keyId)
    await putMintedToken(tx, { ...put, renewMs: 3_600_000, searchedMs: 3_600_000 })
    rotating = rotate(minting, (step) => void steps.push(step))
    await until(() => steps.some((step) => step.startsWith('sealing minted')))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await egressKeys(store.db)).toHaveLength(2)
  })
  const done = await rotating
  expect(done).toMatchObject({ unreadableTokens: 0, retired: [keyId] })
  const [key] = (await readKeyFolder(dir)).sealing
  if (key === undefined) throw new Error('no key')
  const rows = await sql<{ id: string; sealed: string }>`SELECT id, sealed FROM minted_tokens
    UNION ALL SELECT id, sealed FROM former_tokens`.execute(store.db)
  const opened = await Promise.all(
    rows.rows.map(async (each) =>
      (await open(key.opening, each.sealed, tokenContext(each.id, key.id))).reveal(),
    ),
  )
  expect(opened.toSorted()).toEqual(['a late token', ...minting.server.issued].toSorted())
  // And once it is retired nothing is kept that is sealed to it.
  const late = store.db.transaction().execute(async (tx) => await demandEgressKey(tx, keyId))
  await expect(late).rejects.toThrow('has been retired')
})

test('a key to which a token is sealed that does not open stays, with its file, until the token has ended', async () => {
  await using two = await makeTwoTokens()
  const { minting, echo } = two
  const { store } = minting.world
  const dir = folderOf(minting)
  const [before] = await egressKeys(store.db)
  const id = before?.id ?? ''
  await store.db.updateTable('former_tokens').set({ sealed: 'AAAA' }).execute()
  const done = await rotate(minting)
  expect(done).toMatchObject({ resealed: 3, tokens: 1, unreadableTokens: 1, unreadable: [], retired: [] })
  expect((await overviewKeys({ store, dir })).sealing).toMatchObject([
    { id: done.keyId, state: 'sealed to', credentials: 3, tokens: 1 },
    { id, state: 'older', credentials: 0, tokens: 1, here: true },
  ])
  expect((await readdir(dir)).filter((name) => name.startsWith('sealing-'))).toHaveLength(2)

  // A proxy says so once, and serves.
  const proxy = await minting.world.replica()
  for (let i = 0; i < 2; i++) {
    expect(await echo.ask('/', proxy)).toMatch(/^HTTP\/1\.1 200/)
    await new Promise((resolve) => setTimeout(resolve, 600))
  }
  expect(await echo.ask('/', proxy)).toMatch(/^HTTP\/1\.1 200/)
  expect(minting.world.logged().match(/a minted token does not open/g)).toHaveLength(1)

  await store.db.deleteFrom('former_tokens').execute()
  expect(await rotate(minting)).toMatchObject({ unreadableTokens: 0, retired: expect.arrayContaining([id]) })
  expect(await egressKeys(store.db)).toHaveLength(1)
})

test('a token whose key is not here is named once in the log, by the key alone', async () => {
  await using two = await makeTwoTokens()
  const { minting, echo } = two
  await minting.world.store.db.updateTable('former_tokens').set({ key_id: 'ek_gone' }).execute()
  const proxy = await minting.world.replica()
  for (let i = 0; i < 3; i++) {
    expect(await echo.ask('/', proxy)).toMatch(/^HTTP\/1\.1 200/)
    await new Promise((resolve) => setTimeout(resolve, 600))
  }
  const lines = minting.world.logged().match(/.*the key of a minted token is not here.*/g) ?? []
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('"keyId":"ek_gone"')
  // A rotation leaves it as it is, and says so.
  expect(await rotate(minting)).toMatchObject({ tokens: 1, unreadableTokens: 1 })
})

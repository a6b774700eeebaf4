import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { cutOff } from '../support/database.ts'
import { clientCredentials, makeMintWorld, refreshGrant } from '../support/minting.ts'
import { until } from '../support/until.ts'

test('a proxy that stops in good order waits for a refresh that it has sent, and keeps what comes of it', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  await minting.mint(refreshGrant)
  server.delayMs = 800
  const asking = ask().catch(() => 'cut')
  await until(() => server.asked.length === 1)
  await world.egress[Symbol.asyncDispose]()
  await asking
  const claims = await world.store.db.selectFrom('mint_claims').selectAll().execute()
  expect(claims).toEqual([])
  expect(await ask({ egress: await world.replica() })).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked).toHaveLength(1)
  expect(server.reused).toBe(0)
})

test('a refresh that was not sent stays one, though the database was away when that was to be written', async () => {
  let outage: AsyncDisposable | undefined
  let cut: ((port: number) => Promise<void>) | undefined
  await using minting = await makeMintWorld({
    limits: { tokenTimeoutMs: 1_000 },
    async dial(to) {
      await cut?.(to.port)
      return await systemDial(to)
    },
  })
  const { world, server, ask } = minting
  await minting.mint(refreshGrant)
  cut = async (port) => {
    if (port !== minting.auth.port) return
    outage = await cutOff(world.store)
    throw new Error('not reachable')
  }
  const asking = ask().catch(() => 'cut')
  await until(() => outage !== undefined)
  await new Promise((resolve) => setTimeout(resolve, 500))
  cut = undefined
  await outage?.[Symbol.asyncDispose]()
  await asking
  const claims = async () => await world.store.db.selectFrom('mint_claims').select('state').execute()
  await until(async () => (await claims().catch(() => ['away'])).length === 0)
  const [event] = await world.events('credential.mint_failed')
  expect(event?.data).toMatchObject({ reason: 'mint_unavailable' })
  await until(async () => (await ask().catch(() => '')).startsWith('HTTP/1.1 200'))
  expect(server.asked).toHaveLength(1)
})

test('an endpoint that cannot be reached in time is not asked afterwards, and nothing was used up', async () => {
  const connected = Promise.withResolvers<void>()
  let authPort = 0
  await using minting = await makeMintWorld({
    limits: { tokenTimeoutMs: 300 },
    async dial(to) {
      if (to.port === authPort) await connected.promise
      return await systemDial(to)
    },
  })
  const { world, server, ask } = minting
  authPort = minting.auth.port
  await minting.mint(refreshGrant)
  expect(await ask()).toContain('"reason":"mint_unavailable"')
  const [event] = await world.events('credential.mint_failed')
  expect(event?.data).toMatchObject({ reason: 'mint_unavailable', code: 'upstream_timeout' })
  connected.resolve()
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(server.asked).toHaveLength(0)
})

test('an endpoint that is reached in time is not asked beyond it, however long it takes to open the credential', async () => {
  let hold: (() => Promise<void>) | undefined
  await using minting = await makeMintWorld({
    limits: { tokenTimeoutMs: 1_000 },
    async dial(to) {
      if (to.port === minting.auth.port) await hold?.()
      return await systemDial(to)
    },
  })
  const { world, server, ask } = minting
  await minting.mint(refreshGrant)
  const locked = await world.store.pool.connect()
  hold = async () => {
    hold = undefined
    await locked.query('BEGIN; LOCK TABLE credentials IN ACCESS EXCLUSIVE MODE')
  }
  const asking = ask()
  await until(() => hold === undefined)
  await new Promise((resolve) => setTimeout(resolve, 1_300))
  await locked.query('COMMIT')
  locked.release()
  expect(await asking).toContain('"reason":"mint_unavailable"')
  expect(server.asked).toEqual([])
  expect(await world.store.db.selectFrom('mint_claims').selectAll().execute()).toEqual([])
})

test('a refresh that was claimed and not sent, for the database failed in between, can be made when it is back', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  const { db } = world.store
  await minting.mint(refreshGrant)
  // The claim is written, and the very next look fails.
  await sql`CREATE FUNCTION hide() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN ALTER TABLE former_tokens RENAME TO hidden; RETURN NULL; END'`.execute(db)
  await sql`CREATE TRIGGER hide AFTER INSERT ON mint_claims EXECUTE FUNCTION hide()`.execute(db)
  expect(await ask()).toContain('"reason":"mint_unavailable"')
  expect(await db.selectFrom('mint_claims').selectAll().execute()).toEqual([])
  await sql`DROP TRIGGER hide ON mint_claims`.execute(db)
  await sql`ALTER TABLE hidden RENAME TO former_tokens`.execute(db)
  await expect.poll(() => ask(), { timeout: 20_000, interval: 500 }).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked).toHaveLength(1)
})

test('an outage of a token endpoint is told as one story, however many requests it costs, and each request has its reason', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  await minting.mint(clientCredentials)
  const down = { kind: 'status', status: 503, body: 'down' } as const
  server.next = [down, down]
  const answers: string[] = []
  while (server.asked.length < 3) {
    answers.push(...(await Promise.all(Array.from({ length: 5 }, async () => await ask()))))
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(answers.at(-1)).toMatch(/^HTTP\/1\.1 200/)
  const lines = world
    .logged()
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Record<string, unknown>]))
  const told = lines.filter(({ credential }) => credential === 'API_TOKEN')
  expect(told).toMatchObject([
    { msg: 'no token can be minted', what: 'everybody', err: 'mint_unavailable: http_503', level: 40 },
    { msg: 'token minted' },
    { msg: 'tokens can be minted again', failures: 2, level: 30 },
  ])
  const refused = answers.filter((answer) => answer.includes('"reason":"mint_unavailable"'))
  const denied = lines.filter(({ msg, reason }) => msg === 'egress decision' && reason === 'mint_unavailable')
  expect(denied).toHaveLength(refused.length)
}, 20_000)

test('a token that could be kept only after an outage of the database is used no longer than it is good', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask, bearers } = minting
  await minting.mint(clientCredentials)
  server.expiresIn = 5
  server.delayMs = 300
  const asking = ask().catch(() => 'cut')
  await until(() => server.asked.length === 1)
  await using outage = await cutOff(world.store)
  await until(() => server.issued.length === 1)
  const issuedAt = performance.now()
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  await outage[Symbol.asyncDispose]()
  await asking
  const whenEnded = 5_100 - (performance.now() - issuedAt)
  expect(whenEnded).toBeGreaterThan(0)
  expect(bearers()).toEqual(server.issued)
  await new Promise((resolve) => setTimeout(resolve, whenEnded))
  for (const egress of [world.egress, await world.replica()]) await ask({ egress })
  expect(server.issued).toHaveLength(2)
  expect(bearers().slice(1)).toEqual([server.issued[1], server.issued[1]])
}, 20_000)

import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { rule } from '../support/egress-world.ts'
import { apiHost, authHost, clientCredentials, makeMintWorld, refreshGrant } from '../support/minting.ts'
import { until } from '../support/until.ts'

test('client credentials: the upstream gets a token, the sandbox neither it nor the secret, and a record has the names', async () => {
  await using minting = await makeMintWorld()
  const { world, server, mint, ask } = minting
  await mint({ ...clientCredentials, parameters: { audience: 'https://api.example.com' } })
  const answer = await ask()
  expect(answer).toMatch(/^HTTP\/1\.1 200/)
  expect(answer).toContain('you sent Bearer ****')
  expect(minting.bearers()).toEqual(server.issued)
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked).toHaveLength(1)
  const [asked] = server.asked
  expect(Object.fromEntries(asked?.form ?? [])).toEqual({
    grant_type: 'client_credentials',
    scope: 'orders.read orders.write',
    audience: 'https://api.example.com',
  })
  const [event] = await world.events('credential.minted')
  expect(event?.data).toEqual({
    credential: 'API_TOKEN',
    from: ['CLIENT_SECRET'],
    kind: 'oauth_client_credentials',
    host: authHost,
    port: minting.auth.port,
    expiresInSeconds: 3_600,
    rotated: false,
  })
  const rows = JSON.stringify(await world.store.db.selectFrom('minted_tokens').selectAll().execute())
  for (const secret of [server.clientSecret, ...server.issued]) {
    expect(world.logged()).not.toContain(secret)
    expect(rows).not.toContain(secret)
    expect(JSON.stringify(await world.events())).not.toContain(secret)
  }
})

test('a client may show its secret in the body', async () => {
  await using minting = await makeMintWorld()
  await minting.mint({ ...clientCredentials, client_auth: 'body' })
  expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
  expect(minting.server.asked[0]?.form.get('client_secret')).toBe(minting.server.clientSecret)
  expect(minting.server.asked[0]?.headers.authorization).toBeUndefined()
})

test('a hundred racing requests on two proxies cause one refresh, and all get its token', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  const other = await world.replica()
  await minting.mint(refreshGrant)
  server.delayMs = 300
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? ask() : ask({ egress: other }))),
  )
  expect(answers.filter((answer) => answer.startsWith('HTTP/1.1 200'))).toHaveLength(100)
  expect(server.asked).toHaveLength(1)
  expect(new Set(minting.bearers())).toEqual(new Set(server.issued))
  expect(await world.events('credential.minted')).toHaveLength(1)
})

test('a refresh token that rotates is kept before its access token is used, and the next refresh uses the new one', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  const other = await world.replica()
  await minting.mint(refreshGrant)
  server.expiresIn = 1
  const before = await world.store.db
    .selectFrom('credentials')
    .selectAll()
    .where('name', '=', 'REFRESH_TOKEN')
    .execute()
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  const after = await world.store.db
    .selectFrom('credentials')
    .selectAll()
    .where('name', '=', 'REFRESH_TOKEN')
    .execute()
  expect(after[0]?.sealed).not.toBe(before[0]?.sealed)
  expect(after[0]?.version).toBe(before[0]?.version)
  for (const egress of [other, world.egress, other]) {
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(await ask({ egress })).toMatch(/^HTTP\/1\.1 200/)
  }
  expect(server.asked).toHaveLength(4)
  expect(server.reused).toBe(0)
  expect(new Set(server.asked.map(({ form }) => form.get('refresh_token'))).size).toBe(4)
})

test.each(['lose', 'cut', 'hang'] as const)(
  'a refresh whose answer is lost (%s) is never made again, until an admin sets the credential again',
  async (kind) => {
    await using minting = await makeMintWorld({ limits: { tokenTimeoutMs: 500 } })
    const { world, server, ask } = minting
    const other = await world.replica()
    await minting.mint(refreshGrant)
    server.next = [{ kind }]
    expect(await ask()).toContain('"reason":"mint_uncertain"')
    expect(await ask({ egress: other })).toContain('"reason":"mint_uncertain"')
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    const answer = await ask()
    expect(answer).toMatch(/^HTTP\/1\.1 403/)
    expect(answer).toContain('ask an admin')
    expect(server.asked).toHaveLength(1)
    expect(minting.api.seen).toHaveLength(0)
    const [event] = await world.events('credential.mint_failed')
    expect(event?.data).toMatchObject({
      credential: 'API_TOKEN',
      from: ['REFRESH_TOKEN', 'CLIENT_SECRET'],
      reason: 'mint_uncertain',
    })

    await minting.set('REFRESH_TOKEN', server.refreshToken)
    await new Promise((resolve) => setTimeout(resolve, 700))
    expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
    expect(server.reused).toBe(0)
  },
)

test.each([
  [500, '{"error":"server_error"}'],
  [503, 'upstream connect error'],
  [200, '<html>'],
  [302, ''],
  [400, 'not json'],
])('an answer that says nothing for certain (%i %s) counts as lost', async (status, body) => {
  await using minting = await makeMintWorld()
  await minting.mint(refreshGrant)
  minting.server.next = [{ kind: 'status', status, body, headers: { location: 'https://evil.example.com/' } }]
  expect(await minting.ask()).toContain('"reason":"mint_uncertain"')
  expect(minting.server.asked).toHaveLength(1)
  expect(minting.world.dialled).toEqual([{ address: '127.0.0.1', port: minting.auth.port }])
})

test('a refresh token that does not rotate may be tried again, once in a while', async () => {
  await using minting = await makeMintWorld()
  minting.server.rotates = false
  await minting.mint({ ...refreshGrant, rotates: false })
  minting.server.next = [{ kind: 'lose' }]
  for (let i = 0; i < 3; i += 1) expect(await minting.ask()).toContain('"reason":"mint_unavailable"')
  expect(minting.server.asked).toHaveLength(1)
  await new Promise((resolve) => setTimeout(resolve, 2_100))
  expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
})

test('a proxy that dies between asking and keeping leaves the refresh uncertain, whoever looks next', async () => {
  await using minting = await makeMintWorld({ limits: { tokenTimeoutMs: 200 } })
  const { world, server } = minting
  await minting.mint(refreshGrant)
  const credential = await world.store.db
    .selectFrom('credentials')
    .select(['id', 'version'])
    .where('name', '=', 'REFRESH_TOKEN')
    .executeTakeFirstOrThrow()
  // What a killed proxy leaves: its claim, and nobody to end it.
  await world.store.db
    .insertInto('mint_claims')
    .values({
      id: `refresh ${credential.id} ${credential.version}`,
      credential_id: credential.id,
      version: credential.version,
      state: 'minting',
      claim: 'mnt_of_the_dead',
      claimed_until: sql<Date>`now() + interval '300 milliseconds'`,
    })
    .execute()
  expect(await minting.ask()).toMatch(/mint_u(?:ncertain|navailable)/)
  await new Promise((resolve) => setTimeout(resolve, 2_100))
  expect(await minting.ask()).toContain('"reason":"mint_uncertain"')
  expect(server.asked).toHaveLength(0)
  const failures = await world.events('credential.mint_failed')
  expect(failures.filter(({ data }) => data['code'] === 'claim_overdue')).toHaveLength(1)
})

test('a proxy that dies between keeping and using loses nothing: the next one uses what was kept', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  await minting.mint(refreshGrant)
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  await world.egress[Symbol.asyncDispose]()
  const next = await world.replica()
  expect(await ask({ egress: next })).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked).toHaveLength(1)
})

test('a revoked refresh token is refused for certain and not tried again; a wrong secret may be', async () => {
  await using minting = await makeMintWorld()
  const { server, ask } = minting
  await minting.mint(refreshGrant)
  server.next = [{ kind: 'status', status: 400, body: '{"error":"invalid_grant"}' }]
  expect(await ask()).toContain('"reason":"mint_refused"')
  expect(await ask()).toContain('"reason":"mint_refused"')
  const claims = await minting.world.store.db.selectFrom('mint_claims').select('state').execute()
  expect(claims).toEqual([{ state: 'refused' }])
  await minting.set('REFRESH_TOKEN', server.refreshToken)
  await new Promise((resolve) => setTimeout(resolve, 700))
  server.next = [{ kind: 'status', status: 401, body: '{"error":"invalid_client"}' }]
  expect(await ask()).toContain('"reason":"mint_refused"')
  expect(await minting.world.store.db.selectFrom('mint_claims').selectAll().execute()).toEqual([])
})

test('row 15: what a token endpoint writes for an error is in no record and no line, and counts as refused', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  await minting.mint(refreshGrant)
  const error = `bad secret ${server.clientSecret}`
  server.next = [{ kind: 'status', status: 400, body: JSON.stringify({ error }) }]
  expect(await ask()).toContain('"reason":"mint_refused"')
  const [event] = await world.events('credential.mint_failed')
  expect(event?.data).toMatchObject({ reason: 'mint_refused', code: 'other_error' })
  expect(world.logged()).not.toContain('bad secret')
})

test('a token that is said to end at once is used for a while: no request asks for one of its own', async () => {
  await using minting = await makeMintWorld()
  const { server, ask } = minting
  server.expiresIn = 0.0001
  await minting.mint(refreshGrant)
  for (let i = 0; i < 10; i += 1) expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked.length).toBeLessThan(10)
})

test('what cannot be asked uses nothing up: an endpoint inside, an untrusted one, one that is away', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  world.names.set(authHost, ['10.0.0.8'])
  await minting.mint({ ...refreshGrant, address: undefined })
  expect(await ask()).toContain('"reason":"mint_unavailable"')
  expect(world.dialled).toEqual([])
  await minting.mint({ ...refreshGrant, token_url: `https://${authHost}:1/oauth/token` })
  expect(await ask()).toContain('"reason":"mint_unavailable"')
  expect((await world.events('credential.mint_failed', 2)).map(({ data }) => data['code'])).toEqual([
    'address_private',
    expect.stringContaining('upstream_unreachable'),
  ])
  await minting.mint(refreshGrant)
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  expect(server.reused).toBe(0)
})

test('a person’s own refresh token makes their own token, and nobody else’s', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  const bob = await world.addLease({})
  await minting.mint(refreshGrant)
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  await minting.set('REFRESH_TOKEN', server.refreshToken, bob.principalId)
  await new Promise((resolve) => setTimeout(resolve, 700))
  expect(await ask({ lease: bob.lease })).toMatch(/^HTTP\/1\.1 200/)
  expect(await ask()).toMatch(/^HTTP\/1\.1 200/)
  expect(minting.bearers()).toEqual([server.issued[0], server.issued[1], server.issued[0]])
  const owners = await world.store.db
    .selectFrom('events')
    .select('principal_id')
    .where('kind', '=', 'credential.minted')
    .orderBy('id')
    .execute()
  expect(owners.map((row) => row.principal_id)).toEqual([null, bob.principalId])
})

test('the tunnel to a token endpoint lets nothing else through', async () => {
  await using minting = await makeMintWorld()
  const { auth, ask } = minting
  await minting.mint(clientCredentials)
  for (const [method, path] of [
    ['GET', '/oauth/token'],
    ['POST', '/admin'],
    ['POST', '/'],
  ]) {
    const answer = await ask({ host: authHost, port: auth.port, method: method ?? '', path: path ?? '' })
    expect(answer).toMatch(/^HTTP\/1\.1 403/)
  }
  expect(auth.seen).toEqual([])
})

test('an upstream that no longer takes a token makes the next request mint another, and a former one stays masked', async () => {
  await using minting = await makeMintWorld()
  const { world, server } = minting
  let status = 200
  const echo = await world.upstream((req, res) => {
    res.writeHead(status)
    res.end(`${req.headers.authorization} ${server.issued.join(' ')}`)
  })
  await minting.mint(clientCredentials)
  const inject = [{ credential: 'API_TOKEN', into: 'header:authorization', format: 'Bearer {value}' }]
  const spec = await world.store.db.selectFrom('sources').select('spec').executeTakeFirstOrThrow()
  await world.setRules([rule(apiHost, echo.port, { inject } as never)], 'orders', {
    minted: (spec.spec as { minted: object }).minted,
  })
  const ask = () => minting.ask({ port: echo.port })
  expect(await ask()).toContain('200')
  status = 401
  expect(await ask()).toContain('401')
  expect(await ask()).toContain('401')
  // A token that was minted just now is not what is wrong.
  expect(server.asked).toHaveLength(1)
  server.expiresIn = 3_600
  await world.store.db
    .updateTable('minted_tokens')
    .set({ minted_at: sql<Date>`now() - interval '1 minute'` })
    .execute()
  const later = await world.replica()
  expect(await minting.ask({ port: echo.port, egress: later })).toContain('401')
  await new Promise((resolve) => setTimeout(resolve, 50))
  status = 200
  const answer = await minting.ask({ port: echo.port, egress: later })
  expect(server.asked).toHaveLength(2)
  for (const token of server.issued) expect(answer).not.toContain(token)
})

test('a failing mint is a refusal: nothing goes out without its token', async () => {
  await using minting = await makeMintWorld()
  const { world, server, ask } = minting
  await minting.mint({ ...clientCredentials, client_secret: 'NOT_SET' })
  // The name of the token would be the wrong cure: nothing can be set under it.
  expect(await ask()).toContain('"reason":"credential_missing","rule":"egress[0] NOT_SET"')
  await minting.mint({ ...refreshGrant, client_secret: 'NOT_SET_EITHER' })
  expect(await ask()).toContain('"rule":"egress[0] NOT_SET_EITHER"')
  await minting.mint(clientCredentials)
  await world.store.db.updateTable('credentials').set({ sealed: sql<string>`reverse(sealed)` }).execute()
  expect(await ask()).toContain('"reason":"credential_unreadable","rule":"egress[0] API_TOKEN"')
  expect(server.asked).toEqual([])
  await minting.set('CLIENT_SECRET', server.clientSecret)
  server.clientSecret = 'another secret now'
  await until(async () => (await ask()).includes('"reason":"mint_refused"'))
  expect(minting.api.seen).toEqual([])
  expect(world.logged()).not.toContain('another secret now')
})

test('the host of a token endpoint is looked up as the person who asks, not as one for all', async () => {
  const both = Promise.withResolvers<void>()
  let lookUps = 0
  await using minting = await makeMintWorld({
    limits: { lookUpsPerPrincipal: 1 },
    dial: (to) => systemDial({ ...to, address: '127.0.0.1' }),
    async resolve() {
      lookUps += 1
      if (lookUps === 2) both.resolve()
      await Promise.race([both.promise, new Promise((resolve) => setTimeout(resolve, 1_000))])
      return ['93.184.216.34']
    },
  })
  const { world, server, auth, api, ask } = minting
  const bob = await world.addLease({})
  const otherHost = 'other.example.com'
  const injected = (host: string, credential: string) =>
    rule(host, api.port, {
      inject: [{ credential, into: 'header:authorization', format: 'Bearer {value}' }],
    } as never)
  const minted = (host: string) => ({
    ...clientCredentials,
    token_url: `https://${host}:${auth.port}/oauth/token`,
    client_id: server.clientId,
    client_secret: 'CLIENT_SECRET',
  })
  await world.setRules([injected(apiHost, 'API_TOKEN'), injected(otherHost, 'OTHER_TOKEN')], 'orders', {
    minted: { API_TOKEN: minted(authHost), OTHER_TOKEN: minted('auth2.example.com') },
  })
  const answers = await Promise.all([ask(), ask({ host: otherHost, lease: bob.lease })])
  expect(answers.map((answer) => answer.slice(0, 12))).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200'])
  expect(lookUps).toBe(2)
})

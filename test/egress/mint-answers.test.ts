import { expect, test } from 'vitest'
import { readGithubAnswer } from '../../src/egress/secrets/mint/github.ts'
import { readOAuthAnswer } from '../../src/egress/secrets/mint/oauth.ts'
import { clientCredentials, type MintWorld, makeMintWorld, refreshGrant } from '../support/minting.ts'

const token = 'xoxe.xoxb-1-access-token'
const rotated = 'xoxe-1-the-rotated-token'
const beyondLookMs = 700
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const says = (minting: MintWorld, body: object, status = 200) =>
  minting.server.next.push({ kind: 'status', status, body: JSON.stringify(body) })

const failures = async (minting: MintWorld) =>
  (await minting.world.events('credential.mint_failed')).map(({ data }) => [data['reason'], data['code']])

/** As an admin does it to whom nothing else is left; only so is an uncertain refresh tried again. */
async function setAgain(minting: MintWorld): Promise<void> {
  await minting.set('REFRESH_TOKEN', minting.server.refreshToken)
  await sleep(beyondLookMs)
}

test.each(['bot', 'user', 'Bearer', 'token', 'N_A', 7, undefined])(
  'a token is taken whatever the server calls its type (%s), and the rotated refresh token with it',
  async (token_type) => {
    await using minting = await makeMintWorld()
    await minting.mint(refreshGrant)
    says(minting, { ok: true, access_token: token, expires_in: 1, refresh_token: rotated, token_type })
    expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
    expect(minting.bearers()).toEqual([token])
    await sleep(1_000)
    minting.server.refreshToken = rotated
    expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
    expect(minting.server.asked.at(-1)?.form.get('refresh_token')).toBe(rotated)
  },
)

test.each([
  ['a token that wants a proof of possession (DPoP)', { token_type: 'DPoP' }, 'token_type'],
  ['a token that wants a proof of possession (mac)', { token_type: 'mac' }, 'token_type'],
  ['a token that wants a proof of possession (PoP)', { token_type: 'PoP' }, 'token_type'],
  ['a token that no header can carry', { access_token: 'two words' }, 'token_unusable'],
])('%s is refused, and the rotated refresh token beside it is kept', async (_what, odd, code) => {
  await using minting = await makeMintWorld()
  await minting.mint(refreshGrant)
  says(minting, { access_token: token, expires_in: 3_600, refresh_token: rotated, ...odd })
  expect(await minting.ask()).toContain('"reason":"mint_refused"')
  expect(await failures(minting)).toEqual([['mint_refused', code]])
  expect(minting.api.seen).toEqual([])
  minting.server.refreshToken = rotated
  const later = await minting.world.replica()
  expect(await minting.ask({ egress: later })).toMatch(/^HTTP\/1\.1 200/)
  expect(minting.server.asked.map(({ form }) => form.get('refresh_token'))).toEqual([
    'refresh-token-number-0000',
    rotated,
  ])
  expect(minting.server.reused).toBe(0)
  expect(minting.world.logged()).not.toContain(rotated)
})

test.each(['', null])('a refresh token that is none (%j) leaves the one that is stored', async (none) => {
  await using minting = await makeMintWorld()
  const { server } = minting
  await minting.mint(refreshGrant)
  says(minting, { access_token: token, expires_in: 1, refresh_token: none })
  expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
  await sleep(1_000)
  expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
  expect(server.asked.map(({ form }) => form.get('refresh_token'))).toEqual([
    'refresh-token-number-0000',
    'refresh-token-number-0000',
  ])
})

test.each([
  ['Slack’s', { ok: false, error: 'invalid_refresh_token' }, 'other_error'],
  ['GitHub’s', { error: 'bad_refresh_token', error_description: 'SECRET' }, 'other_error'],
  ['one with a code of the standard', { error: 'invalid_client' }, 'invalid_client'],
  ['one beside an empty token', { error: 'invalid_scope', access_token: null }, 'invalid_scope'],
  ['one for too many requests', { ok: false, error: 'ratelimited' }, 'other_error'],
])(
  'a refusal that says 200 (%s) is one: nothing was used up, and its code is all that is told',
  async (_whose, body, code) => {
    await using minting = await makeMintWorld()
    const { server, world } = minting
    await minting.mint(refreshGrant)
    says(minting, JSON.parse(JSON.stringify(body).replace('SECRET', server.clientSecret)))
    expect(await minting.ask()).toContain('"reason":"mint_refused"')
    expect(await failures(minting)).toEqual([['mint_refused', code]])
    expect(await world.store.db.selectFrom('mint_claims').selectAll().execute()).toEqual([])
    expect(world.logged()).not.toMatch(/refresh_token"|bad_refresh|invalid_refresh|client secret/)
    expect(await minting.ask({ egress: await world.replica() })).toMatch(/^HTTP\/1\.1 200/)
    expect(server.reused).toBe(0)
  },
)

test('a grant that is no longer good is not tried again, though the server says it with 200', async () => {
  await using minting = await makeMintWorld()
  await minting.mint(refreshGrant)
  says(minting, { error: 'invalid_grant' })
  expect(await minting.ask()).toContain('"reason":"mint_refused"')
  expect(await minting.ask({ egress: await minting.world.replica() })).toContain('"reason":"mint_refused"')
  expect(minting.server.asked).toHaveLength(1)
  await setAgain(minting)
  expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
})

test.each(['internal_error', 'fatal_error', 'server_error', 'request_timeout', 'temporarily_unavailable'])(
  'an error with 200 that says that the server failed (%s) may have spent the refresh token, which is not sent again',
  async (error) => {
    await using minting = await makeMintWorld()
    await minting.mint(refreshGrant)
    says(minting, { ok: false, error })
    expect(await minting.ask()).toContain('"reason":"mint_uncertain"')
    expect(await minting.ask({ egress: await minting.world.replica() })).toContain(
      '"reason":"mint_uncertain"',
    )
    expect(minting.server.asked).toHaveLength(1)
  },
)

test('an answer without a token, a refusal or a new refresh token says nothing for certain', () => {
  for (const body of [{}, { ok: false }, { error: 7 }, { error: 'a\nb' }, { access_token: 'short' }])
    expect(readOAuthAnswer({ status: 200, body: JSON.stringify(body) })).toEqual({ kind: 'unclear' })
  expect(readOAuthAnswer({ status: 302, body: '{"error":"invalid_grant"}' })).toEqual({ kind: 'unclear' })
  expect(readOAuthAnswer({ status: 500, body: '{"error":"invalid_grant"}' })).toEqual({ kind: 'unclear' })
  // One that could not be kept is as good as lost.
  const unkept = JSON.stringify({ access_token: token, refresh_token: 'short' })
  expect(readOAuthAnswer({ status: 200, body: unkept })).toEqual({ kind: 'unclear' })
})

test.each([
  ['compressed', { headers: { 'content-encoding': 'gzip' } }],
  ['in a transfer coding', { headers: { 'transfer-encoding': 'gzip, chunked' } }],
  ['longer than 64 KiB', { pad: ' '.repeat(64 * 1024) }],
])(
  'an answer that is %s may be of a refresh that was made, and is not asked for again',
  async (_what, how) => {
    await using minting = await makeMintWorld()
    const { server } = minting
    await minting.mint(refreshGrant)
    const { headers = {}, pad = '' } = how as { headers?: Record<string, string>; pad?: string }
    const body = JSON.stringify({ access_token: token, refresh_token: rotated }) + pad
    server.next.push({ kind: 'status', status: 200, body, headers })
    for (const egress of [minting.world.egress, await minting.world.replica()])
      expect(await minting.ask({ egress })).toContain('"reason":"mint_uncertain"')
    expect(server.asked).toHaveLength(1)
    expect(minting.api.seen).toEqual([])
  },
)

test.each([
  [200, { token, expires_at: '2100-01-01T00:00:00Z' }],
  [201, [token]],
  [201, { token }],
  [201, { token, expires_at: 'soon' }],
  [201, { token: 'short', expires_at: '2100-01-01T00:00:00Z' }],
  [500, {}],
])('an answer of GitHub’s without a token or its end says nothing for certain: %i %j', (status, body) => {
  const reply = { status, headers: {}, body: JSON.stringify(body) }
  expect(readGithubAnswer(reply, Date.now())).toEqual({ kind: 'unclear' })
})

test('a token comes with its error, too: the token is what counts', async () => {
  await using minting = await makeMintWorld()
  await minting.mint(clientCredentials)
  says(minting, { access_token: token, error: 'invalid_scope', expires_in: 60 })
  expect(await minting.ask()).toMatch(/^HTTP\/1\.1 200/)
})

test('a token of GitHub’s is searched for as long as it may be good, though this clock be hours before its own', () => {
  const hour = 3_600_000
  const body = JSON.stringify({ token: 'ghs_0123456789', expires_at: '2026-01-01T01:00:00Z' })
  const life = (nowMs: number) => {
    const answer = readGithubAnswer({ status: 201, headers: {}, body }, nowMs)
    return answer.kind === 'token' ? answer.lifetime : undefined
  }
  const minted = Date.UTC(2026, 0, 1)
  expect(life(minted)).toEqual({ usedMs: hour, searchedMs: hour })
  expect(life(minted + 2 * hour)).toEqual({ usedMs: 1_000, searchedMs: hour })
  expect(life(minted - 2 * hour)).toEqual({ usedMs: hour, searchedMs: 3 * hour })
})

test('a token of GitHub’s lives as long as its server says by one clock, whatever this one shows', () => {
  const body = JSON.stringify({ token: 'ghs_0123456789', expires_at: '2026-01-01T00:30:00Z' })
  const headers = { date: 'Thu, 01 Jan 2026 00:00:00 GMT' }
  const halfAnHour = { usedMs: 1_800_000, searchedMs: 3_600_000 }
  for (const minutes of [0, -60, 60, 600])
    expect(
      readGithubAnswer({ status: 201, headers, body }, Date.UTC(2026, 0, 1) + minutes * 60_000),
    ).toMatchObject({ lifetime: halfAnHour })
})

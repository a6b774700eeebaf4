import { expect, test } from 'vitest'
import { rule } from '../support/egress-world.ts'
import { apiHost, authHost, clientOf, type MintWorld, makeMintWorld } from '../support/minting.ts'

const client = { kind: 'oauth_client_credentials' }
const basic = (pair: string) => `Authorization: Basic ${Buffer.from(pair).toString('base64')}`
const form = 'Content-Type: application/x-www-form-urlencoded'

/** A source with several credentials that are minted at one endpoint, each injected under a path of its own. */
async function several(minting: MintWorld, minted: Record<string, Record<string, unknown>>): Promise<void> {
  const specs = Object.fromEntries(
    Object.entries(minted).map(([name, spec]) => [name, { ...clientOf(minting), ...spec }]),
  )
  const rules = Object.keys(minted).map((name) => {
    const inject = [{ credential: name, into: 'header:authorization', format: 'Bearer {value}' }]
    return rule(apiHost, minting.api.port, { paths: [`/${name.toLowerCase()}`], inject } as never)
  })
  await minting.world.setRules(rules, 'orders', { minted: specs })
}

async function askForToken({ ask, auth }: MintWorld, body: string, headers: string[] = [form]) {
  const answer = await ask({
    host: authHost,
    port: auth.port,
    path: '/oauth/token',
    method: 'POST',
    headers,
    body,
  })
  return JSON.parse(answer.slice(answer.indexOf('{'))) as Record<string, unknown>
}

test('of several credentials with one token endpoint the one that the client id names is answered for', async () => {
  await using minting = await makeMintWorld()
  await several(minting, {
    FIRST: { ...client, client_id: 'first', scopes: ['a'] },
    SECOND: { ...client, client_id: 'second+b', scopes: ['b'] },
  })
  const second = { access_token: 'toolcrib-placeholder-for-SECOND', scope: 'b' }
  const grant = 'grant_type=client_credentials'
  for (const [body, headers] of [
    [`${grant}&client_id=second%2Bb&client_secret=y`, [form]],
    // As it is written, and as RFC 6749 says.
    [grant, [form, basic('second+b:y')]],
    [grant, [form, basic('second%2Bb:y')]],
    [JSON.stringify({ client_id: 'second+b' }), ['Content-Type: application/json']],
  ] as const)
    expect([body, headers, await askForToken(minting, body, [...headers])]).toMatchObject([
      body,
      headers,
      second,
    ])
  expect(await askForToken(minting, `${grant}&client_id=first`)).toMatchObject({ scope: 'a' })
  const stubs = await minting.world.events('egress.allowed', 5)
  expect(stubs.map(({ data }) => data['rule'])).toEqual([
    ...Array.from({ length: 4 }, () => 'minted SECOND'),
    'minted FIRST',
  ])
  expect(minting.server.asked).toEqual([])
})

test('with one client id the grant, the scope and the parameters tell; what is left open is left out of the answer', async () => {
  await using minting = await makeMintWorld()
  await several(minting, {
    READ: { ...client, scopes: ['x', 'read'] },
    WRITE: { ...client, scopes: ['write'] },
    MAIL: { ...client, parameters: { audience: 'https://mail.example.com' } },
    MINE: { kind: 'oauth_refresh_token', refresh_token: 'REFRESH_TOKEN' },
  })
  const grant = 'grant_type=client_credentials'
  const named = async (body: string) => (await askForToken(minting, body))['access_token']
  expect(await named(`${grant}&scope=write`)).toBe('toolcrib-placeholder-for-WRITE')
  expect(await named(`${grant}&scope=read+x`)).toBe('toolcrib-placeholder-for-READ')
  expect(await named(`${grant}&audience=https%3A%2F%2Fmail.example.com`)).toBe(
    'toolcrib-placeholder-for-MAIL',
  )
  expect(await named('grant_type=refresh_token&refresh_token=x')).toBe('toolcrib-placeholder-for-MINE')
  expect(await askForToken(minting, `${grant}&scope=other&client_id=nobody`)).toEqual({
    access_token: 'toolcrib-placeholder-for-READ-or-WRITE',
    token_type: 'Bearer',
    expires_in: 3_600,
  })
  const stubs = await minting.world.events('egress.allowed', 5)
  expect(stubs.at(-1)?.data).toMatchObject({ rule: 'minted READ WRITE', stubbed: true })
  // The rule decides what is sent in its place.
  const headers = ['Authorization: Bearer toolcrib-placeholder-for-READ-or-WRITE']
  expect(await minting.ask({ path: '/write', headers })).toContain('200 OK')
  expect(minting.bearers()).toEqual(minting.server.issued)
})

test('of GitHub’s tokens for one installation the permissions and repositories tell', async () => {
  await using minting = await makeMintWorld()
  const app = (more: object) => ({
    kind: 'github_app',
    api_url: `https://${authHost}:${minting.auth.port}`,
    address: '127.0.0.1',
    app_id: '7',
    installation_id: '42',
    private_key: 'APP_KEY',
    ...more,
  })
  const read = { permissions: { contents: 'read', issues: 'write' }, repositories: ['crib'] }
  await minting.world.setRules(
    ['READ', 'ALL'].map((name) =>
      rule(apiHost, minting.api.port, {
        paths: [`/${name}`],
        inject: [{ credential: name, into: 'header:authorization' }],
      } as never),
    ),
    'orders',
    { minted: { READ: app(read), ALL: app({}) } },
  )
  const named = async (body: string) => {
    const path = '/app/installations/42/access_tokens'
    const asked = { host: authHost, port: minting.auth.port, path, method: 'POST', body }
    const answer = await minting.ask(asked)
    return (JSON.parse(answer.slice(answer.indexOf('{'))) as { token: string }).token
  }
  const asRead = JSON.stringify({
    repositories: ['crib'],
    permissions: { issues: 'write', contents: 'read' },
  })
  expect(await named(asRead)).toBe('toolcrib-placeholder-for-READ')
  expect(await named('{}')).toBe('toolcrib-placeholder-for-ALL')
})

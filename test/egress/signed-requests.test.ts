import { createHash, createHmac, generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { Secret } from '../../src/core/index.ts'
import { makeWorld, request, rule, sayAndRead, theSecret, type World } from '../support/egress-world.ts'
import { apiHost, makeMintWorld } from '../support/minting.ts'
import { whyNotSigned } from '../support/sigv4-verifier.ts'
import type { Upstream } from '../support/upstream.ts'

const host = 'bucket.s3.eu-central-1.amazonaws.com'
const keys = { id: 'AKIAREALREALREAL', secret: 'real/secret+access/key=0123456789abcdef' }
const placeholder = (scope = 'eu-central-1/s3') =>
  `Authorization: AWS4-HMAC-SHA256 Credential=AKIAPLACEHOLDER/20260101/${scope}/aws4_request, SignedHeaders=host;x-amz-date, Signature=${'0'.repeat(64)}`

async function set(world: World, values: Record<string, string>, principalId = ''): Promise<void> {
  for (const [name, value] of Object.entries(values))
    await world.vault.setCredential({
      name,
      scope: principalId === '' ? 'global' : 'principal',
      scopeId: principalId,
      value: new Secret(value),
      by: 'test',
    })
}

/** An upstream that answers `signed` only to what is. */
function verifier(
  world: World,
  expected: { id: string; secret: string; token?: string } = keys,
): Promise<Upstream> {
  return world.upstream((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const why = whyNotSigned(req, Buffer.concat(chunks), expected)
      res.writeHead(why === undefined ? 200 : 403)
      res.end(why ?? `signed ${expected.token ?? ''}`)
    })
  })
}

const aws = (extra: object = {}) => ({
  kind: 'aws_sigv4',
  access_key_id: 'AWS_ID',
  secret_access_key: 'AWS_SECRET',
  regions: ['eu-central-1', 'us-east-1'],
  services: ['s3', 'dynamodb'],
  ...extra,
})

async function s3World(sign: object = aws(), expected = keys) {
  const world = await makeWorld()
  const up = await verifier(world, expected)
  await set(world, { AWS_ID: keys.id, AWS_SECRET: keys.secret, AWS_SESSION: 'session+token/of=ours' })
  await world.setRules([rule(host, up.port, { methods: ['GET', 'PUT', 'POST'], sign } as never)])
  const ask = async (path: string, extra: string[] = [], method = 'GET', body = '', lease?: string) => {
    const socket = await world.tunnel(host, up.port, lease === undefined ? {} : { lease })
    const answer = await sayAndRead(socket, request(host, up.port, path, extra, method, body))
    socket.destroy()
    return answer
  }
  return { world, up, ask, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
}

test('a refusal is an error of S3 to whoever signs for it, and of AWS to whoever signs a form', async () => {
  await using s3 = await s3World()
  const { up, ask } = s3
  const told = (method: string, path: string) =>
    `The egress proxy refused ${method} https://${host}:${up.port}${path} (signing_refused): the request asks`
  const refused = await ask("/a&b'c", [placeholder('eu-west-9/s3')])
  expect(refused).toMatch(/^HTTP\/1\.1 403 signing_refused: [^]*content-type: application\/xml\r\n/i)
  expect(refused).toContain(`<Error><Code>signing_refused</Code><Message>${told('GET', "/a&amp;b'c")}`)
  const form = 'Content-Type: application/x-www-form-urlencoded; charset=utf-8'
  expect(await ask('/', [placeholder('eu-west-9/sts'), form], 'POST', 'Action=GetCallerIdentity')).toContain(
    `<ErrorResponse><Error><Code>signing_refused</Code><Message>${told('POST', '/')}`,
  )
  const json = 'Content-Type: application/x-amz-json-1.0'
  expect(await ask('/', [placeholder('eu-west-9/dynamodb'), json], 'POST', '{}')).toContain(
    `"message":"${told('POST', '/')}`,
  )
})

test('a request signed with a placeholder, or not at all, arrives signed by the real key, which is nowhere else', async () => {
  await using s3 = await s3World()
  const { world, up, ask } = s3
  expect(await ask('/a/key?list-type=2&prefix=a%2Fb&x=', [placeholder()])).toMatch(/200[^]*signed/)
  expect(await ask('/with%20space/%C3%A9')).toMatch(/200[^]*signed/)
  const put = ['Content-Type: text/plain', 'x-amz-meta-a:  two  spaces ', 'x-amz-date: 20000101T000000Z']
  expect(await ask('/k', [placeholder('us-east-1/s3'), ...put], 'PUT', 'the body')).toMatch(/200[^]*signed/)
  expect(up.seen[2]?.rawHeaders.join()).toContain('/us-east-1/s3/')
  expect(JSON.stringify(up.seen)).not.toContain('PLACEHOLDER')
  const everything = JSON.stringify([await world.events(undefined, 3), up.seen]) + world.logged()
  expect(everything).not.toContain(keys.secret)
  const [event] = await world.events('egress.allowed')
  expect(event?.data['credentials']).toEqual([
    { credential: 'AWS_ID', slot: 'signature' },
    { credential: 'AWS_SECRET', slot: 'signature' },
  ])
})

test('what is signed of a header is its bytes, whatever they mean', async () => {
  await using s3 = await s3World()
  // The last byte of the à, read as a character, is a space that no server trims.
  for (const value of ['café', '日本語', 'voilà', 'voilà  \t', 'à  la  carte']) {
    const name = `x-amz-meta-name: ${Buffer.from(value).toString('latin1')}`
    expect(await s3.ask('/k', [placeholder(), name], 'PUT', 'body')).toMatch(/200[^]*signed/)
  }
  const sent = s3.up.seen[0]?.rawHeaders ?? []
  expect(Buffer.from(sent[sent.indexOf('x-amz-meta-name') + 1] ?? '', 'latin1').toString()).toBe('café')
})

test('the key of an object may have any letter but those of the path’s own, where the rule signs for S3 alone', async () => {
  await using s3 = await s3World(aws({ services: ['s3'] }))
  const { up, ask } = s3
  const asked = ['/b/a%3bb', '/b/a%253Bb', '/b/100%25', '/b//a///', '/b/a%3Fb%23c%5Cd', '/b/a%26b%2Bc%3D']
  for (const path of asked) {
    const answer = await ask(path, [placeholder('eu-central-1/s3')], 'PUT', 'body')
    expect([path, answer]).toEqual([path, expect.stringMatching(/200[^]*signed/)])
  }
  expect(up.seen.map(({ url }) => url)).toEqual(asked.map((path) => path.replace('%3b', '%3B')))
  for (const path of ['/b/..', '/b/..%3b/x', '/b/%252e%252e/x', '//b/x', '/b/a%0ab'])
    expect([path, await ask(path)]).toEqual([path, expect.stringContaining('400 path_ambiguous')])
  await s3.world.setRules([rule(host, up.port, { sign: aws() } as never)])
  expect(await ask('/b/a%3bb')).toContain('400 path_ambiguous')
  expect(up.seen).toHaveLength(asked.length)
})

test('S3 Express is signed as S3 is, the path encoded once', async () => {
  await using s3 = await s3World(aws({ services: ['s3express'] }))
  expect(await s3.ask('/with%20space', [placeholder('eu-central-1/s3express')])).toMatch(/200[^]*signed/)
  expect(await s3.ask('/50%25%20off')).toMatch(/200[^]*signed/)
})

test('a service that signs the path twice encoded gets it so', async () => {
  await using s3 = await s3World()
  const target = ['x-amz-target: DynamoDB_20120810.GetItem', 'Content-Type: application/x-amz-json-1.0']
  expect(await s3.ask('/a%20b', [placeholder('us-east-1/dynamodb'), ...target], 'POST', '{}')).toMatch(
    /200[^]*signed/,
  )
})

test('a session token goes along, and is masked when it comes back', async () => {
  const token = 'session+token/of=ours'
  await using s3 = await s3World(aws({ session_token: 'AWS_SESSION' }), { ...keys, token } as never)
  const answer = await s3.ask('/k')
  expect(answer).toMatch(/200[^]*signed \*+/)
  expect(answer).not.toContain(token)
})

test('row 11: what the caller signed, dated and hashed itself goes out in no spelling that some server takes for the signature’s', async () => {
  await using s3 = await s3World(aws({ session_token: 'AWS_SESSION' }), {
    ...keys,
    token: 'session+token/of=ours',
  } as never)
  const own = [
    'X_Amz_Date',
    'x-amz_date',
    'x_amz-date',
    'X_AMZ_SECURITY_TOKEN',
    'x-amz-security_token',
    'x_amz_security-token',
    'X_Amz_Content_Sha256',
    'x-amz-content_sha256',
    'x_amz_target',
    'x.amz.target',
    'X!Amz!Date',
    'X-Amz-Security-Token',
    'X-Amz-Date',
    'Date',
  ].map((name) => `${name}: mine`)
  const metadata = 'x-amz-meta-of_mine: kept'
  expect(await s3.ask('/k', [placeholder(), ...own, metadata], 'PUT', 'body')).toMatch(/200[^]*signed/)
  const sent = s3.up.seen[0]?.rawHeaders ?? []
  expect(sent).not.toContain('mine')
  expect(sent).toContain('kept')
})

test('another region, another service, a presigned address, a second signature and a body signed in pieces are refused', async () => {
  await using s3 = await s3World()
  const { world, up, ask } = s3
  const pieces = 'x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
  for (const refused of [
    ask('/', [placeholder('us-west-2/s3')]),
    ask('/', [placeholder('us-east-1/sts')]),
    ask('/', ['Authorization: Bearer mine']),
    ask('/', [placeholder(), placeholder()]),
    ask('/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Signature=b'),
    ask('/?X%2DAmz-Algorithm=AWS4-HMAC-SHA256&X%2DAmz-Credential=a&X%2DAmz-Signature=b'),
    ask('/?%58-Amz-Si%67nature=b'),
    ask('/?AWSAccessKeyId=AKIA&Signature=b&Expires=1893456000'),
    ask('/?GoogleAccessId=a&Signature=b&Expires=1893456000'),
    ask('/', [placeholder(), pieces], 'PUT', 'body'),
  ])
    expect(await refused).toMatch(/403[^]*x-toolcrib-denied: signing_refused/)
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test('row 35: what S3 is told to copy or to rename is another path than the one that was judged, and refused', async () => {
  await using s3 = await s3World()
  for (const header of ['x-amz-copy-source: /payroll/secret.csv', 'X-Amz-Rename-Source: /payroll/a'])
    expect(await s3.ask('/k', [header], 'PUT')).toMatch(/403[^]*"reason":"signing_refused"/)
  expect(s3.up.seen).toEqual([])
  expect(await s3.ask('/k', ['x_amz_copy_source: /payroll/secret.csv'], 'PUT')).toMatch(/200[^]*signed/)
  expect(s3.up.seen[0]?.rawHeaders.join('\n')).not.toMatch(/copy.source/i)
})

test('a body longer than may be held back is refused, one whose hash is stated passes as it comes', async () => {
  await using s3 = await s3World(aws({ max_body_bytes: 1_000 }))
  const body = 'x'.repeat(5_000)
  expect(await s3.ask('/k', [], 'PUT', body)).toMatch(/413[^]*"reason":"body_too_large"/)
  const hash = createHash('sha256').update(body).digest('hex')
  expect(await s3.ask('/k', [`x-amz-content-sha256: ${hash}`], 'PUT', body)).toMatch(/200[^]*signed/)
  expect(await s3.ask('/k', ['x-amz-content-sha256: UNSIGNED-PAYLOAD'], 'PUT', body)).toMatch(/200[^]*signed/)
  const chunked = `Transfer-Encoding: chunked\r\n\r\n${(2_000).toString(16)}\r\n${'y'.repeat(2_000)}\r\n0\r\n\r\n`
  const socket = await s3.world.tunnel(host, s3.up.port)
  const answer = await sayAndRead(socket, `PUT /k HTTP/1.1\r\nHost: ${host}:${s3.up.port}\r\n${chunked}`)
  expect(answer).toMatch(/413[^]*body_too_large/)
  expect(s3.up.seen).toHaveLength(2)
})

test('keys belong together: a person’s half of a pair is not completed by everybody’s', async () => {
  await using s3 = await s3World()
  const bob = await s3.world.addLease({})
  await set(s3.world, { AWS_ID: 'AKIABOBBOBBOB' }, bob.principalId)
  await new Promise((resolve) => setTimeout(resolve, 600))
  const refused = await s3.ask('/k', [], 'GET', '', bob.lease)
  expect(refused).toContain('"reason":"credential_missing"')
  // Everybody's is set: it is his own that is missing.
  expect(refused).toContain(`toolcrib credentials set AWS_SECRET --for ${bob.principalId}"`)
  expect(await s3.ask('/k')).toMatch(/200[^]*signed/)
})

test('a webhook is signed over its method, address, time and body, and the caller’s own signature is dropped', async () => {
  await using world = await makeWorld()
  const key = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
  const up = await world.upstream((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const given = req.headersDistinct['x-signature'] ?? []
      const [, time = '', signature] = /^t=(\d+),v1=(.+)$/.exec(given.join()) ?? []
      const digest = createHash('sha256').update(Buffer.concat(chunks)).digest('base64')
      const expected = createHmac('sha512', key)
        .update(`${req.method} ${req.url} ${time} ${digest}`)
        .digest('base64url')
      const good = signature === expected && Math.abs(Number(time) - Date.now() / 1_000) < 5
      res.end(good ? 'signed' : `not signed: ${given.join(' and ')}`)
    })
  })
  await set(world, { HOOK_KEY: key.toString('hex') })
  const sign = {
    kind: 'hmac',
    key: 'HOOK_KEY',
    key_encoding: 'hex',
    algorithm: 'sha512',
    message: '{method} {target} {timestamp} {body_sha256_base64}',
    signature_encoding: 'base64url',
    headers: { 'x-signature': 't={timestamp},v1={signature}' },
  }
  await world.setRules([rule(host, up.port, { sign } as never)])
  const ask = async (extra: string[], method: string, body: string) => {
    const socket = await world.tunnel(host, up.port)
    return await sayAndRead(socket, request(host, up.port, '/events?a=1', extra, method, body))
  }
  expect(await ask([], 'GET', '')).toContain('\r\n\r\nsigned')
  const own = ['X-Signature: t=1,v1=mine', 'X_Signature: t=1,v1=mine', 'Authorization: Bearer mine']
  expect(await ask(own, 'POST', '{"event":1}')).toContain('\r\n\r\nsigned')
  expect(up.seen[1]?.rawHeaders).not.toContain('Bearer mine')

  await world.setRules([
    rule(host, up.port, { sign: { ...sign, key_encoding: 'base64', key: 'ORDERS_KEY' } } as never),
  ])
  expect(theSecret).toMatch(/[^A-Za-z0-9+/=]/)
  expect(await ask([], 'GET', '')).toContain('"reason":"credential_unreadable"')
})

/** A world where the API is asked with an installation's token of a GitHub App, whose key is `pem`. */
async function githubWorld() {
  await using stack = new AsyncDisposableStack()
  const minting = stack.use(await makeMintWorld())
  const { world, server, auth, api } = minting
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  server.githubKey = publicKey
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString().replaceAll('\n', '\r\n')
  await minting.set('APP_KEY', pem)
  const minted = {
    API_TOKEN: {
      kind: 'github_app',
      api_url: `https://${apiHost}:${auth.port}`,
      address: '127.0.0.1',
      app_id: 'Iv23app',
      installation_id: '42',
      private_key: 'APP_KEY',
      repositories: ['crib'],
      permissions: { contents: 'read' },
    },
  }
  const setRule = async (credential: string, more: object = {}) => {
    const inject = [{ credential, into: 'header:authorization', format: 'Bearer {value}' }]
    await world.setRules([rule(apiHost, api.port, { inject } as never)], 'orders', more)
  }
  await setRule('API_TOKEN', { minted })
  const resources = stack.move()
  return { minting, pem, setRule, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}

test('a GitHub App asks for a token with its key, and the key itself can be injected nowhere', async () => {
  await using github = await githubWorld()
  const { minting, pem } = github
  const { world, server, auth, api } = minting
  expect(await minting.ask()).toContain('you sent Bearer ****')
  expect(minting.bearers()).toEqual(server.issued)
  expect(server.asked[0]?.path).toBe('/app/installations/42/access_tokens')
  expect(JSON.parse(server.asked[0]?.body ?? '')).toEqual({
    repositories: ['crib'],
    permissions: { contents: 'read' },
  })

  const stub = await minting.ask({
    port: auth.port,
    path: '/app/installations/42/access_tokens',
    method: 'POST',
    headers: ['Authorization: Bearer e30.e30.e30'],
  })
  expect(stub).toMatch(/^HTTP\/1\.1 201[^]*"token":"toolcrib-placeholder-for-API_TOKEN"/)
  expect(server.asked).toHaveLength(1)

  await github.setRule('APP_KEY')
  expect(await minting.ask()).toContain('"reason":"credential_unreadable"')
  expect(api.seen).toHaveLength(1)
  expect(world.logged()).not.toContain(pem.split('\r\n')[1])
})

test.each([
  ['429', 429, {}, 'mint_unavailable'],
  ['403 and when to come again', 403, { 'retry-after': '60' }, 'mint_unavailable'],
  ['403 and that no request is left', 403, { 'x-ratelimit-remaining': '0' }, 'mint_unavailable'],
  ['403 and requests left', 403, { 'x-ratelimit-remaining': '4999' }, 'mint_refused'],
  ['401', 401, {}, 'mint_refused'],
])('a GitHub that answers %s is told as $3', async (_what, status, headers, reason) => {
  await using github = await githubWorld()
  const { ask, server } = github.minting
  server.next.push({ kind: 'status', status, headers, body: '{"message":"You have exceeded a rate limit"}' })
  const answer = await ask()
  expect(answer).toContain(`"reason":"${reason}"`)
  expect(answer).toContain(reason === 'mint_unavailable' ? 'try again in a moment' : 'ask an admin')
  expect(server.asked).toHaveLength(1)
})

test.each([
  ['ahead of', 20],
  ['behind', -5],
])(
  'a GitHub whose clock is %s this one by minutes is asked again by its own, and that is told',
  async (_where, minutes) => {
    await using github = await githubWorld()
    const { ask, server, bearers, world } = github.minting
    server.aheadMs = minutes * 60_000
    expect(await ask()).toContain('you sent Bearer ****')
    expect(bearers()).toEqual(server.issued)
    expect(server.asked).toHaveLength(2)
    const [minted] = await world.events('credential.minted')
    // A Date has whole seconds, and both clocks go on.
    expect(Math.abs(Number(minted?.data['clockOffSeconds']) + minutes * 60)).toBeLessThan(20)
    expect(world.logged()).toContain('the clock of this machine is wrong')
  },
)

test('a GitHub that refuses by its own clock too is asked twice and no more, and the clock stands in the record', async () => {
  await using github = await githubWorld()
  const { ask, server, world } = github.minting
  const date = new Date(Date.now() + 1_200_000).toUTCString()
  const refused = { kind: 'status', status: 401, body: '{}', headers: { date } } as const
  server.next.push(refused, refused)
  expect(await ask()).toContain('"reason":"mint_refused"')
  expect(server.asked).toHaveLength(2)
  const [failed] = await world.events('credential.mint_failed')
  expect(failed?.data).toMatchObject({ code: 'http_401', clockOffSeconds: expect.any(Number) })
  expect(world.logged()).toMatch(/mint_refused: http_401; the clock here is off by -1\d{3} s/)
})

test('what looks like a private key and is none is refused when it is set', async () => {
  await using world = await makeWorld()
  const pem = (label: string, body: string) => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`
  for (const value of [
    pem('PRIVATE KEY', 'AAAA'),
    pem('ENCRYPTED PRIVATE KEY', 'AAAA'),
    pem('CERTIFICATE', 'AAAA'),
    `${pem('PRIVATE KEY', 'AAAA')}X-Header: injected`,
  ])
    await expect(set(world, { APP_KEY: value })).rejects.toMatchObject({ code: 'invalid_input' })
})

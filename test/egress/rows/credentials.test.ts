import pg from 'pg'
import { expect, test, vi } from 'vitest'
import { Secret, sha256 } from '../../../src/core/index.ts'
import { egressKeys } from '../../../src/store/index.ts'
import { sealTo } from '../../../src/vault/index.ts'
import { armed, deniedAs, host } from '../../support/armed.ts'
import {
  basic,
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
} from '../../support/egress-world.ts'
import { apiHost, authHost, clientCredentials, makeMintWorld } from '../../support/minting.ts'

/** Who may use a credential, where it goes, and what of the caller's stands beside it. */

test('row 2: a lease that ended, that names another source, or that is made up is answered 407', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 8443)])
  await world.setRules([], 'other')
  const other = await world.addLease({ principalId: world.principalId, source: 'other' })
  const tries = [
    connectRequest(host, 8443, 'orders', 'made-up-lease-0123456789'),
    connectRequest(host, 8443, 'orders', other.lease),
    connectRequest(host, 8443, 'other', world.lease),
    connectRequest(host, 8443, 'orders', world.lease.slice(0, -1) + (world.lease.endsWith('x') ? 'y' : 'x')),
    `CONNECT ${host}:8443 HTTP/1.1\r\nHost: ${host}:8443\r\n\r\n`,
    connectRequest(host, 8443, 'orders', world.lease).replace(/(Proxy-Auth.*\r\n)/, '$1$1'),
    connectRequest(host, 8443, 'orders', world.lease).replace('Basic', 'Bearer'),
  ]
  for (const text of tries) expect(await sayAndRead(await world.connect(), text)).toMatch(/^HTTP\/1\.1 407 /)
  await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
  await new Promise((resolve) => setTimeout(resolve, 550))
  const ended = await sayAndRead(await world.connect(), connectRequest(host, 8443, 'orders', world.lease))
  expect(ended).toMatch(/^HTTP\/1\.1 407 /)
  // The one that showed no lease at all is only counted.
  const events = await world.events('egress.denied', 7)
  expect(events).toHaveLength(7)
  expect(events.every((event) => event.data['reason'] === 'lease_invalid')).toBe(true)
})

test('row 2: a lease is one person’s: with another’s nobody gets that person’s own credential, and one of an earlier life none', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  const bob = await world.addLease({})
  await world.vault.setCredential({
    name: 'ORDERS_KEY',
    scope: 'principal',
    scopeId: bob.principalId,
    value: new Secret('bobs-own-key-0123456789'),
    by: 'test',
  })
  await new Promise((resolve) => setTimeout(resolve, 600))
  expect(await say('/')).toContain('200 OK')
  const bobs = await world.tunnel(host, up.port, { lease: bob.lease })
  expect(await sayAndRead(bobs, request(host, up.port, '/'))).toContain('200 OK')
  const sent = up.seen.map((seen) => seen.rawHeaders[seen.rawHeaders.indexOf('authorization') + 1])
  expect(sent).toEqual([`Bearer ${theSecret}`, 'Bearer bobs-own-key-0123456789'])
  await world.store.db.updateTable('runners').set({ generation: 2 }).execute()
  await new Promise((resolve) => setTimeout(resolve, 600))
  const late = await sayAndRead(await world.connect(), connectRequest(host, up.port, 'orders', world.lease))
  expect(deniedAs(late)).toBe('lease_invalid')
})

test('row 43: a lease is looked up by its digest: no comparison, here or in the database, ever sees its secret', async () => {
  await using world = await makeWorld()
  await armed(world, (_req, res) => res.end('ok'))
  // Every query of every client of the database, passed on as it is.
  const asked: string[] = []
  const passOn = Reflect.get(pg.Client.prototype, 'query') as (...query: unknown[]) => unknown
  const watching = vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (
    this: unknown,
    ...query: unknown[]
  ) {
    const plain = query.filter((part) => typeof part !== 'function')
    asked.push(
      JSON.stringify(plain, (key, value: unknown) =>
        /^(?:text|values|name)$|^\d*$/.test(key) ? value : undefined,
      ),
    )
    return passOn.apply(this, query)
  })
  try {
    const other = (char: string) => (char === 'x' ? 'y' : 'x')
    const guesses = [
      world.lease.slice(0, -1) + other(world.lease.slice(-1)),
      other(world.lease.slice(0, 1)) + world.lease.slice(1),
      'made-up-lease-0123456789',
    ]
    const answers: string[] = []
    for (const lease of guesses)
      answers.push(await sayAndRead(await world.connect(), connectRequest(host, 8443, 'orders', lease)))
    // How much of a guess was right shows in nothing of the answer.
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toMatch(/^HTTP\/1\.1 407 /)
    await sayAndRead(await world.connect(), connectRequest(host, 8443, 'orders', world.lease))
    const text = asked.join('\n')
    for (const lease of [world.lease, ...guesses]) {
      expect(text).toContain(sha256(lease))
      for (const told of [lease, lease.slice(0, -1), basic('orders', lease).slice(6, -4)])
        expect(text).not.toContain(told)
    }
  } finally {
    watching.mockRestore()
  }
})

test('row 11: the caller’s own credentials do not travel beside the injected one, in a trailer neither', async () => {
  await using world = await makeWorld()
  const { up, say, raw } = await armed(world, (req, res) => {
    req.on('data', () => undefined)
    req.on('end', () => res.end('ok'))
  })
  const own = [
    'Authorization: Bearer mine',
    'AUTHORIZATION: Bearer mine',
    'X-Api-Key: mine',
    'X_Api_Key: mine',
    'X.Api.Key: mine',
    'X!Api~Key: mine',
    'Api-Key: mine',
    'ApiKey: mine',
    'X-Access-Token: mine',
    'X-Auth-Token: mine',
    'X-Goog-Api-Key: mine',
    'Private-Token: mine',
    'X-Amz-Security-Token: mine',
    'X-Auth-Key: mine',
    'X-Vault-Token: mine',
    'Job-Token: mine',
    'Deploy-Token: mine',
    'DD-API-KEY: mine',
    'DD-APPLICATION-KEY: mine',
    'X-Shopify-Access-Token: mine',
    'Circle-Token: mine',
    'Ocp-Apim-Subscription-Key: mine',
    'X-Functions-Key: mine',
    'X-RapidAPI-Key: mine',
    'X-Algolia-API-Key: mine',
    'Cf-Access-Client-Secret: mine',
    'X-Consul-Token: mine',
    'X-Nomad-Token: mine',
    'X-Hasura-Admin-Secret: mine',
    'X-Serverless-Authorization: mine',
    'Impersonate-User: mine',
    'Impersonate-Extra-Scopes: mine',
    'X-Forwarded-Client-Cert: mine',
    'X-Remote-User: mine',
    'Cookie: s=mine',
    'Proxy-Authorization: Basic mine',
    'X-Other: kept',
  ]
  expect(await say('/', own)).toMatch(/^HTTP\/1\.1 200/)
  const head = up.seen[0]?.rawHeaders ?? []
  expect(head.join()).not.toContain('mine')
  expect(head).toContain('kept')
  expect(head.filter((name) => name.toLowerCase() === 'authorization')).toHaveLength(1)
  const start = `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n`
  expect(
    await raw(`${start}3\r\nabc\r\n0\r\nAuthorization: Bearer mine\r\nX-Api-Key: mine\r\n\r\n`),
  ).toContain('200 OK')
  expect(up.seen[1]?.rawHeaders.join()).not.toContain('mine')
})

test('row 11: nor does a token of the caller’s own in the query, unless it is the slot’s to judge', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  await say('/a?access_token=mine')
  await say('/b?x=%41&Access_Token=mine&private%5ftoken=mine&y;access_token=mine&z=access_token')
  await say('/c?q=token&&b=%20')
  expect(up.seen.map(({ url }) => url)).toEqual(['/a?', '/b?x=%41&z=access_token', '/c?q=token&&b=%20'])
  const slot = { credential: 'ORDERS_KEY', into: 'query:access_token' }
  await world.setRules([rule(host, up.port, { inject: [slot] })])
  await say('/d?access_token=mine&private_token=mine')
  expect(up.seen[3]?.url).toBe(`/d?access_token=${encodeURIComponent(theSecret)}`)
  await world.setRules([rule(host, up.port)])
  await say('/e?access_token=kept')
  expect(up.seen[4]?.url).toBe('/e?access_token=kept')
})

test('row 11: bodies are not read for it: a token of the caller’s own in a form goes on as it is', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (req, res) => {
    req.resume()
    req.on('end', () => res.end('ok'))
  })
  const form = 'access_token=mine&x=1'
  await say('/a', ['Content-Type: application/x-www-form-urlencoded'], 'POST', form)
  expect(up.seen[0]?.rawHeaders).toContain(`Bearer ${theSecret}`)
  expect(up.seen[0]?.body).toBe(form)
})

test('row 12: a source that asks for the token itself gets one that is worth nothing, whatever its rules allow', async () => {
  await using minting = await makeMintWorld()
  const { world, server, auth, ask } = minting
  for (const rules of [[], [rule(authHost, auth.port)]]) {
    await minting.mint({ ...clientCredentials }, rules)
    for (const path of ['/oauth/token', '/oauth/token/', '/OAuth/Token', '/oauth%2ftoken']) {
      const answer = await ask({
        host: authHost,
        port: auth.port,
        path,
        method: 'POST',
        headers: ['Content-Type: application/x-www-form-urlencoded'],
        body: 'grant_type=client_credentials&client_id=x&client_secret=y',
      })
      expect(answer).toMatch(/^HTTP\/1\.1 200[^]*cache-control: no-store/)
      expect(JSON.parse(answer.slice(answer.indexOf('{')))).toEqual({
        access_token: 'toolcrib-placeholder-for-API_TOKEN',
        token_type: 'Bearer',
        expires_in: 3_600,
        scope: 'orders.read orders.write',
      })
    }
  }
  expect(server.asked).toEqual([])
  // The program then uses what it got, and the real token takes its place.
  const used = await ask({
    host: apiHost,
    headers: ['Authorization: Bearer toolcrib-placeholder-for-API_TOKEN'],
  })
  expect(used).toContain('****')
  expect(minting.bearers()).toEqual(server.issued)
  const stubs = (await world.events('egress.allowed', 9)).filter(({ data }) => data['stubbed'] === true)
  expect(stubs).toHaveLength(8)
  expect(stubs[0]?.data).toMatchObject({ host: authHost, rule: 'minted API_TOKEN', credentials: [] })
})

test('row 13: http or another port of an allowed host gets nothing', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const plain = await world.upstream((_req, res) => res.end('ok'), 'http')
  const absolute = async (port: number) => {
    const text = `GET http://${host}:${port}/ HTTP/1.1\r\nHost: ${host}:${port}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    return deniedAs(await sayAndRead(await world.connect(), text))
  }
  expect(await absolute(up.port)).toBe('scheme_not_allowed')
  expect(await absolute(plain.port)).toBe('port_not_allowed')
  await expect(world.tunnel(host, plain.port)).rejects.toThrow('port_not_allowed')
  // A rule for http that would inject is as a whole unusable, rather than half obeyed.
  await world.setRules([{ ...rule(host, plain.port, { inject: injectBearer }), scheme: 'http' }])
  expect(await absolute(plain.port)).toMatch(/injection_needs_https|host_not_allowed/)
  expect(world.dialled).toEqual([])
  expect(plain.seen).toEqual([])
})

test.each([
  ['read', '503 leases_unavailable'],
  ['opened', '403 credential_unreadable'],
])(
  'a stored credential that cannot be %s lets nothing out, nor on other routes of its host',
  async (how, refused) => {
    await using world = await makeWorld()
    const up = await world.upstream((_req, res) => res.end(`log: ${theSecret}`))
    await world.setRules([
      rule(host, up.port, { paths: ['/v1'], inject: injectBearer }),
      rule(host, up.port, { paths: ['/log'] }),
    ])
    if (how === 'read') await world.store.pool.query('ALTER TABLE credentials RENAME TO credentials_away')
    else await world.store.db.updateTable('credentials').set({ sealed: 'hpke1.AAAA.AAAA' }).execute()
    const said: string[] = []
    for (const path of ['/v1', '/log']) {
      const answer = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path))
      said.push(`${answer.slice(9, 12)} ${deniedAs(answer)}`)
    }
    expect(said).toEqual([refused, refused])
    expect(up.seen).toEqual([])
  },
)

test('more credentials of one host than its answers can be searched for let nothing out', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const many = Array.from({ length: 9 }, (_, n) => `BIG_${n}`)
  for (const name of many) {
    const value = new Secret(`${name}-${'x'.repeat(65_000)}`)
    await world.vault.setCredential({ name, scope: 'global', scopeId: '', value, by: 'test' })
  }
  const others = many.map((credential) =>
    rule(host, up.port, { paths: [`/${credential}`], inject: [{ credential, into: 'header:x-key' }] }),
  )
  await world.setRules([rule(host, up.port, { inject: injectBearer }), ...others])
  const socket = await world.tunnel(host, up.port)
  expect(deniedAs(await sayAndRead(socket, request(host, up.port, '/')))).toBe('proxy_overloaded')
  expect(up.seen).toEqual([])
})

test('row 14: a secret that could end a line is refused when it is set, and the refusal does not repeat it', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  // Long enough, all but the last two, so that it is not for their length that they are refused.
  const bad: [string, string][] = [
    ['long enough\r\nX-Evil: 1', 'contains a line break'],
    ['long enough\nb', 'contains a line break'],
    ['long enough\rb', 'contains a line break'],
    ['from-a-file\n', 'contains a line break'],
    ['from-a-file\r\n', 'contains a line break'],
    ['long enough\0b', 'contains a control character'],
    ['long\x7fenough', 'contains a control character'],
    ['long\x85enough', 'contains a control character'],
    [' long enough', 'begins or ends with white space'],
    ['long enough\t', 'begins or ends with white space'],
    ['long\u2028enough', 'contains a character outside Latin-1'],
    ['long enough é€', 'contains a character outside Latin-1'],
    ['x'.repeat(65_537), 'is longer than 64 KiB'],
    ['abc', 'is shorter than 4 characters'],
    ['', 'is empty'],
  ]
  for (const [value, why] of bad) {
    const set = world.vault.setCredential({
      name: 'ORDERS_KEY',
      scope: 'global',
      scopeId: '',
      value: new Secret(value),
      by: 'test',
    })
    const said = await set.then(
      () => 'taken',
      (error: unknown) => String(error),
    )
    expect([value, said]).toEqual([value, expect.stringContaining(`the value for ORDERS_KEY ${why}`)])
    expect(value.length > 1 && said.includes(value)).toBe(false)
  }
  expect(await say('/')).toContain('200 OK')
  expect(up.seen[0]?.rawHeaders).toContain(`Bearer ${theSecret}`)
})

test.each([
  ['a line break', 'header:x-key', 'long enough\r\nX-Evil: 1'],
  ['a NUL', 'query:key', 'long\0enough'],
  ['a character that no header can carry', 'header:x-key', 'long enough é€'],
  ['a character that no answer is searched for', 'query:key', 'long enough é€'],
  ['no colon', 'basic', 'robot-without-password'],
  ['dots alone', 'path:1', '..'],
])(
  'row 14: a value with %s goes into no slot that it does not fit (%s), whoever stored it',
  async (_what, into, value) => {
    await using world = await makeWorld()
    const up = await world.upstream((_req, res) => res.end('ok'))
    await world.setRules([rule(host, up.port, { inject: [{ credential: 'ORDERS_KEY', into }] })])
    const [key] = await egressKeys(world.store.db)
    if (key === undefined) throw new Error('no key')
    const row = { keyId: key.id, name: 'ORDERS_KEY', scope: 'global', scopeId: '' }
    const sealed = await sealTo(key.publicKey, new Secret(value), row)
    await world.store.db.updateTable('credentials').set({ sealed, key_id: key.id }).execute()
    const socket = await world.tunnel(host, up.port)
    expect(deniedAs(await sayAndRead(socket, request(host, up.port, '/own')))).toBe('credential_unreadable')
    expect(up.seen).toEqual([])
  },
)

test('row 15: whatever fails, no answer, log, record, table or metric shows the secret; nor does the proxy’s own command line', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const { up, say } = await armed(world, (req, res) => {
    if (req.url === '/break') return void req.socket.destroy()
    if (req.url === '/garbage') return void req.socket.end(`HTTP/1.1 200 OK\r\n${theSecret}\r\n\r\n`)
    if (req.url === '/endless') return void res.writeHead(200, { x: theSecret.repeat(2_000) }).end()
    res.writeHead(500, { 'x-debug-authorization': String(req.headers.authorization), server: theSecret })
    res.end(`Traceback: Authorization=${req.headers.authorization}`)
  })
  let answers = ''
  for (const path of ['/', '/break', '/garbage', '/endless', '/?debug=1']) answers += await say(path)
  await world.vault.removeCredential({ name: 'ORDERS_KEY', scope: 'global', scopeId: '', by: 'test' })
  await new Promise((resolve) => setTimeout(resolve, 100))
  const refused = await say('/')
  expect(refused).toMatch(/credential_missing[^]*ORDERS_KEY/)
  expect(up.seen).toHaveLength(5)
  await world.events('egress.allowed', 5)
  const rows = await Promise.all(
    (['events', 'credentials', 'egress_keys', 'sources'] as const).map(
      async (table) => await world.store.db.selectFrom(table).selectAll().execute(),
    ),
  )
  const metrics = await (await fetch(`http://127.0.0.1:${world.egress.metricsPort}/metrics`)).text()
  expect(metrics).toContain('toolcrib_egress_redactions_total')
  const everything = [
    metrics,
    answers,
    refused,
    JSON.stringify(rows),
    world.logged(),
    process.argv.join(' '),
  ].join('\n')
  for (const form of [
    theSecret,
    theSecret.slice(0, 12),
    Buffer.from(theSecret).toString('hex'),
    Buffer.from(theSecret).toString('base64').slice(0, 20),
    // Bytes printed one by one, as JSON shows a Buffer.
    [...Buffer.from(theSecret.slice(0, 8))].join(','),
  ])
    expect(everything).not.toContain(form)
})

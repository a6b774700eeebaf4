import { X509Certificate } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { createServer } from 'node:https'
import { dirname, join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { Secret } from '../../../src/core/index.ts'
import { createLeaves, generateAuthority, importAuthority } from '../../../src/egress/keys/certificates.ts'
import { systemDial } from '../../../src/egress/upstream/dial.ts'
import { armed, deniedAs, host } from '../../support/armed.ts'
import { certificateOf } from '../../support/certificate.ts'
import {
  basic,
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'

/** What sandboxes are shown for a host, and what they could do with it. */

/** Leaf and issuing certificate, as a tunnel shows them. */
async function shown(
  world: World,
  port: number,
): Promise<{ leaf: X509Certificate; issuer: X509Certificate }> {
  const socket: TLSSocket = await world.tunnel(host, port)
  const chain = socket.getPeerCertificate(true)
  socket.destroy()
  return { leaf: new X509Certificate(chain.raw), issuer: new X509Certificate(chain.issuerCertificate.raw) }
}

test('row 43: the certificates of a tunnel are good for its host as a server, for days, and for nothing else', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const { leaf, issuer } = await shown(world, up.port)
  const root = new X509Certificate(world.ca)
  expect([leaf.ca, issuer.ca, root.ca]).toEqual([false, true, true])
  expect(leaf.verify(issuer.publicKey)).toBe(true)
  expect(issuer.verify(root.publicKey)).toBe(true)
  expect(leaf.checkHost(host)).toBe(host)
  expect(leaf.checkHost('evil.example.com')).toBeUndefined()
  // The CA's own certificate names no host, so it is nobody's server certificate.
  expect([root.checkHost(host), issuer.checkHost(host), root.subjectAltName]).toEqual([
    undefined,
    undefined,
    undefined,
  ])
  // serverAuth alone.
  expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
  const days = (certificate: X509Certificate) =>
    (Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / 86_400_000
  expect(days(leaf)).toBeLessThan(15)
  expect(days(issuer)).toBeLessThan(15)
  // Name constraints (2.5.29.30), as DER writes them.
  expect(issuer.raw.includes(Buffer.from('0603551d1e', 'hex'))).toBe(true)
  expect(issuer.raw.includes(Buffer.from(host))).toBe(true)
})

test('row 43: the keys are for their user alone, and neither they nor the gateway can be reached through the proxy', async () => {
  await using world = await makeWorld()
  await armed(world, (_req, res) => res.end('ok'))
  const folder = join(dirname(dirname(world.egress.socketPath ?? '')), 'keys')
  const modes = await Promise.all(
    (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).mode & 0o077),
  )
  expect(new Set(modes.concat((await stat(folder)).mode & 0o077))).toEqual(new Set([0]))
  const authorization = `Proxy-Authorization: ${basic('orders', world.lease)}`
  for (const target of [
    '127.0.0.1:7400',
    'localhost:7400',
    '[::1]:7400',
    '0.0.0.0:7400',
    `127.0.0.1:${world.egress.tcpPort}`,
  ]) {
    const connected = await sayAndRead(
      await world.connect(),
      `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authorization}\r\n\r\n`,
    )
    expect([target, deniedAs(connected)]).toEqual([target, 'host_not_allowed'])
    const plain = await sayAndRead(
      await world.connect(),
      `GET http://${target}/admin/v1/tokens HTTP/1.1\r\nHost: ${target}\r\n${authorization}\r\n\r\n`,
    )
    expect([target, deniedAs(plain)]).toEqual([target, 'host_not_allowed'])
  }
  // The proxy itself has no page, no metrics and no keys to show.
  for (const path of ['/', '/metrics', '/healthz', '/keys', '/debug', '/.well-known/x']) {
    const answer = await sayAndRead(
      await world.connect(),
      `GET ${path} HTTP/1.1\r\nHost: proxy\r\n${authorization}\r\n\r\n`,
    )
    expect([path, deniedAs(answer)]).toEqual([path, 'target_malformed'])
  }
  expect(world.dialled).toEqual([])
})

test('row 44: a client that pins a certificate, or trusts other authorities, sends nothing, and nothing is dialled for it', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const open = async () => {
    const socket = await world.connect()
    expect(await sayAndRead(socket, connectRequest(host, up.port, 'orders', world.lease))).toContain('200')
    return socket
  }
  const stranger = connectTls({ socket: await open(), servername: host, ca: world.upstreamCa })
  const failed = await new Promise<Error>((resolve) => stranger.once('error', resolve))
  expect(String(failed)).toMatch(/issuer|self.signed|verify/i)
  const pins = connectTls({
    socket: await open(),
    servername: host,
    ca: world.ca,
    checkServerIdentity: (_host, certificate) =>
      certificate.fingerprint256 === 'pinned'
        ? undefined
        : new Error('another certificate than the pinned one'),
  })
  const pinned = await new Promise<Error>((resolve) => pins.once('error', resolve))
  expect(String(pinned)).toContain('pinned')
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test('row 44: both certificates say whose key signed them, as Python from 3.13 wants it', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const { leaf, issuer } = await shown(world, up.port)
  // Authority and subject key identifiers (2.5.29.35, 2.5.29.14), as DER writes them.
  for (const certificate of [leaf, issuer]) {
    expect(certificate.raw.includes(Buffer.from('0603551d23', 'hex'))).toBe(true)
    expect(certificate.raw.includes(Buffer.from('0603551d0e', 'hex'))).toBe(true)
  }
})

test('row 44: an upstream that wants a certificate of the client gets no request, and the sandbox a reason', async () => {
  const ca = await generateAuthority(Date.now())
  await using world = await makeWorld({ trustedCas: [ca.certificatePem] })
  const leaves = await createLeaves({
    authority: await importAuthority(ca.certificatePem, ca.keyPem),
    now: () => Date.now(),
    cacheSize: 5,
  })
  const context = await leaves.contextFor(host)
  let asked = 0
  const server = createServer(
    {
      requestCert: true,
      rejectUnauthorized: true,
      ca: ca.certificatePem,
      SNICallback: (_name, done) => done(null, context),
    },
    () => {
      asked += 1
    },
  )
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await world.setRules([rule(host, port, { inject: injectBearer })])
  const answer = await sayAndRead(await world.tunnel(host, port), request(host, port, '/'))
  expect(deniedAs(answer)).toMatch(/^upstream_(?:failed|untrusted|unreachable)$/)
  expect(asked).toBe(0)
  expect(world.logged()).not.toContain(theSecret)
  await new Promise((resolve) => server.close(resolve))
})

/** An upstream that takes nobody without a certificate of its own CA, and says who came. */
async function demandingUpstream(own: { cert: string; key: string }, ca: string) {
  /** Target, fields and trailers of every request. */
  const seen: string[] = []
  const server = createServer(
    {
      ...own,
      requestCert: true,
      rejectUnauthorized: true,
      ca,
    },
    (req, res) => {
      const peer = (req.socket as TLSSocket).getPeerX509Certificate()
      res.setHeader('set-cookie', 'session=worth-a-certificate')
      req.resume()
      req.on('end', () => {
        seen.push([req.url, ...req.rawHeaders, ...req.rawTrailers].join('\n'))
        res.end(`${req.headers.authorization ?? ''} shown by ${peer?.subjectAltName ?? 'nobody'}`)
      })
    },
  )
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('row 44: an upstream that wants a client’s certificate is shown the one that the rule names, and no other', async () => {
  const clients = await generateAuthority(Date.now())
  await using world = await makeWorld({ trustedCas: [clients.certificatePem] })
  const authority = await importAuthority(clients.certificatePem, clients.keyPem)
  const made = async (name: string) => await certificateOf(authority, name)
  const own = await made(host)
  await using up = await demandingUpstream(own, clients.certificatePem)
  await using again = await demandingUpstream(own, clients.certificatePem)
  const set = async (value: string, principalId?: string) =>
    await world.vault.setCredential({
      name: 'ORDERS_CERTIFICATE',
      scope: principalId === undefined ? 'global' : 'principal',
      scopeId: principalId ?? '',
      value: new Secret(value),
      by: 'test',
    })
  const named = { client_certificate: 'ORDERS_CERTIFICATE', inject: injectBearer }
  await world.setRules([rule(host, up.port, named), rule(host, again.port)])
  const say = async (port = up.port, lease?: string) =>
    await sayAndRead(
      await world.tunnel(host, port, lease === undefined ? {} : { lease }),
      request(host, port, '/'),
    )
  expect(deniedAs(await say())).toBe('credential_missing')
  await set('not-a-certificate-at-all')
  // The notice of a new value travels on another connection.
  await expect.poll(async () => deniedAs(await say())).toBe('credential_unreadable')
  const everybody = await made('everybody')
  await set(`${everybody.cert}\n${everybody.key}`)
  await expect.poll(async () => await say()).toContain('shown by DNS:everybody')
  expect(await world.outcome()).toMatchObject({ status: 200 })
  const events = await world.events('egress.allowed')
  expect(events.at(-1)?.data['credentials']).toEqual([
    { credential: 'ORDERS_KEY', slot: 'header:authorization' },
    { credential: 'ORDERS_CERTIFICATE', slot: 'client_certificate' },
  ])
  // Another port of the host, another person: nothing that was opened for one serves the other.
  expect(deniedAs(await say(again.port))).toMatch(/^upstream_failed$/)
  const other = await world.addLease({})
  const alice = await made('alice')
  await set(alice.key + alice.cert, other.principalId)
  expect(await say(up.port, other.lease)).toContain('shown by DNS:alice')
  expect(await say()).toContain('shown by DNS:everybody')
  const later = await made('later')
  await set(later.key + later.cert)
  await expect.poll(async () => await say()).toContain('shown by DNS:later')
  expect(world.logged()).not.toMatch(/PRIVATE KEY/)
})

test('row 44: a request goes out where the certificate was shown that is set by the time that its upstream has been dialled', async () => {
  const clients = await generateAuthority(Date.now())
  const authority = await importAuthority(clients.certificatePem, clients.keyPem)
  let meanwhile: (() => Promise<void>) | undefined
  await using world = await makeWorld({
    trustedCas: [clients.certificatePem],
    async dial(to) {
      const change = meanwhile
      meanwhile = undefined
      await change?.()
      return await systemDial(to)
    },
  })
  await using up = await demandingUpstream(await certificateOf(authority, host), clients.certificatePem)
  const set = async (who: string) => {
    const { key, cert } = await certificateOf(authority, who)
    const value = new Secret(key + cert)
    await world.vault.setCredential({
      name: 'ORDERS_CERTIFICATE',
      scope: 'global',
      scopeId: '',
      value,
      by: 't',
    })
  }
  await set('robot')
  await world.setRules([rule(host, up.port, { client_certificate: 'ORDERS_CERTIFICATE' })])
  const tunnel = await world.tunnel(host, up.port)
  meanwhile = async () => {
    await set('later')
    await new Promise((resolve) => setTimeout(resolve, 800))
  }
  expect(await sayAndRead(tunnel, request(host, up.port, '/'))).toContain('shown by DNS:later')
  expect(up.seen).toHaveLength(1)
  expect(world.dialled).toHaveLength(2)
})

test('row 7: a session that an upstream opens for the shown certificate, or for a signature, stays outside', async () => {
  const clients = await generateAuthority(Date.now())
  await using world = await makeWorld({ trustedCas: [clients.certificatePem] })
  const authority = await importAuthority(clients.certificatePem, clients.keyPem)
  await using up = await demandingUpstream(await certificateOf(authority, host), clients.certificatePem)
  const robot = await certificateOf(authority, 'robot')
  for (const [name, value] of [
    ['ORDERS_CERTIFICATE', robot.key + robot.cert],
    ['HOOK_KEY', 'a-key-of-hooks'],
  ] as const)
    await world.vault.setCredential({ name, scope: 'global', scopeId: '', value: new Secret(value), by: 't' })
  const hooks = await world.upstream((_req, res) => {
    res.setHeader('set-cookie', 'session=worth-a-signature').end('fine')
  })
  const headers = { 'x-signature': '{signature}' }
  const sign = { kind: 'hmac', key: 'HOOK_KEY', message: '{path}', headers }
  await world.setRules([
    rule(host, up.port, { client_certificate: 'ORDERS_CERTIFICATE' }),
    rule(host, hooks.port, { sign }),
  ])
  for (const [port, body] of [
    [up.port, 'shown by DNS:robot'],
    [hooks.port, 'fine'],
  ] as const) {
    const answer = await sayAndRead(await world.tunnel(host, port), request(host, port, '/'))
    expect(answer).toContain('200 OK')
    expect(answer).toContain(body)
    expect(answer).not.toMatch(/set-cookie|worth-a/i)
  }
})

test('row 11: the caller’s own credentials do not travel beside the shown certificate either', async () => {
  const clients = await generateAuthority(Date.now())
  await using world = await makeWorld({ trustedCas: [clients.certificatePem] })
  const authority = await importAuthority(clients.certificatePem, clients.keyPem)
  await using up = await demandingUpstream(await certificateOf(authority, host), clients.certificatePem)
  const robot = await certificateOf(authority, 'robot')
  await world.vault.setCredential({
    name: 'ORDERS_CERTIFICATE',
    scope: 'global',
    scopeId: '',
    value: new Secret(robot.key + robot.cert),
    by: 'test',
  })
  await world.setRules([rule(host, up.port, { client_certificate: 'ORDERS_CERTIFICATE' })])
  const own = [
    'Authorization: Bearer mine',
    'Cookie: s=mine',
    'X-Api-Key: mine',
    'X-Forwarded-Client-Cert: mine',
  ]
  const head = request(
    host,
    up.port,
    '/?access_token=mine&a=1',
    [...own, 'Accept: kept', 'Transfer-Encoding: chunked'],
    'POST',
  )
  const tunnel = await world.tunnel(host, up.port)
  expect(await sayAndRead(tunnel, `${head}0\r\nX-Late: mine\r\n\r\n`)).toContain('shown by DNS:robot')
  expect(up.seen).toEqual([expect.stringMatching(/^\/\?a=1\n[^]*kept/)])
  expect(up.seen.join()).not.toContain('mine')
})

test('row 14: a certificate with another key, half a certificate, and two keys are refused when they are set', async () => {
  await using world = await makeWorld()
  const clients = await generateAuthority(Date.now())
  const authority = await importAuthority(clients.certificatePem, clients.keyPem)
  const [one, two] = [await certificateOf(authority, 'one'), await certificateOf(authority, 'two')]
  const set = async (value: string) =>
    await world.vault.setCredential({
      name: 'ORDERS_CERTIFICATE',
      scope: 'global',
      scopeId: '',
      value: new Secret(value),
      by: 'test',
    })
  await expect(set(one.key + two.cert)).rejects.toThrow(/another key than its own/)
  await expect(set(one.key + one.key)).rejects.toThrow(/line break/)
  await expect(set(one.cert)).rejects.toThrow(/without its private key; give the private key before/)
  await expect(set(one.key + one.cert.replace(/[A-Za-z0-9+/]{40}/, 'A'.repeat(40)))).rejects.toThrow(
    /cannot be read as one/,
  )
})

import type { RequestListener } from 'node:http'
import { connect as connectTls } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
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
} from '../support/egress-world.ts'

const host = 'orders.example.com'

/** One injected route to an upstream that answers as told, and a tunnel to it. */
async function armed(world: World, handle: RequestListener) {
  const up = await world.upstream(handle)
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const say = async (path: string, extra: string[] = [], method = 'GET', body = '') =>
    await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path, extra, method, body))
  return { up, say }
}

test('row 2: a lease that ended, that names another source, or that is made up is answered 407', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 8443)])
  await world.setRules([], 'other')
  const other = await world.addLease({ principalId: world.principalId, source: 'other' })
  const tries = [
    connectRequest(host, 8443, 'orders', 'made-up-lease-0123456789'),
    connectRequest(host, 8443, 'orders', other.lease),
    connectRequest(host, 8443, 'other', world.lease),
    `CONNECT ${host}:8443 HTTP/1.1\r\nHost: ${host}:8443\r\n\r\n`,
    connectRequest(host, 8443, 'orders', world.lease).replace(/(Proxy-Auth.*\r\n)/, '$1$1'),
  ]
  for (const text of tries) expect(await sayAndRead(await world.connect(), text)).toMatch(/^HTTP\/1\.1 407 /)
  await world.store.db.updateTable('leases').set({ ended_at: new Date() }).execute()
  await new Promise((resolve) => setTimeout(resolve, 550))
  const ended = await sayAndRead(await world.connect(), connectRequest(host, 8443, 'orders', world.lease))
  expect(ended).toMatch(/^HTTP\/1\.1 407 /)
  const events = await world.events('egress.denied', 6)
  expect(events.every((event) => event.data['reason'] === 'lease_invalid')).toBe(true)
})

test('row 7: an upstream that echoes the credential shows it to nobody', async () => {
  await using world = await makeWorld()
  const { say } = await armed(world, (req, res) => {
    const value = req.headers.authorization ?? ''
    res.writeHead(200, {
      'x-echo': value,
      'set-cookie': 'session=made-with-the-key',
      location: `/x?k=${encodeURIComponent(theSecret)}`,
    })
    const body = JSON.stringify({
      value,
      b64: Buffer.from(value).toString('base64'),
      hex: Buffer.from(theSecret).toString('hex'),
    })
    // Split in the middle of everything.
    let at = 0
    const next = () => {
      if (at >= body.length) return void res.end()
      res.write(body.slice(at, at + 7))
      at += 7
      setImmediate(next)
    }
    next()
  })
  const answer = await say('/headers')
  expect(answer).toMatch(/^HTTP\/1\.1 200/)
  for (const form of [
    theSecret,
    JSON.stringify(theSecret).slice(1, -1),
    encodeURIComponent(theSecret),
    Buffer.from(theSecret).toString('hex'),
  ]) {
    expect(answer).not.toContain(form)
  }
  expect(answer).not.toContain(Buffer.from(`Bearer ${theSecret}`).toString('base64').slice(10, 40))
  expect(answer).not.toContain('set-cookie')
  expect(answer).toContain('x-echo: Bearer ****')
  expect((await world.outcome())['redactions']).toBeGreaterThanOrEqual(5)
})

test('row 7: a rule of the same host that injects nothing is searched all the same', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end(`last key seen: ${theSecret}`))
  await world.setRules([
    rule(host, up.port, { paths: ['/v1'], inject: injectBearer }),
    rule(host, up.port, { paths: ['/log'] }),
  ])
  const answer = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/log'))
  expect(answer).toContain('last key seen: ***')
  expect(answer).not.toContain(theSecret)
  expect(up.seen[0]?.rawHeaders.join()).not.toContain(theSecret)
})

test('row 8: Range is dropped on an injected route, and a partial answer is refused', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => {
    res.writeHead(206, { 'content-range': 'bytes 0-3/40' })
    res.end('abcd')
  })
  const answer = await say('/', ['Range: bytes=0-3', 'If-Range: x'])
  expect(answer).toMatch(/^HTTP\/1\.1 502/)
  expect(answer).toContain('answer_partial')
  expect(up.seen[0]?.rawHeaders.join()).not.toMatch(/range/i)
})

test('row 9: an upstream that breaks off in the middle of the secret gives none of it away', async () => {
  await using world = await makeWorld()
  const { say } = await armed(world, (_req, res) => {
    res.writeHead(200, { 'content-length': '1000' })
    res.write(`key: ${theSecret.slice(0, 20)}`)
    setTimeout(() => res.destroy(), 50)
  })
  const answer = await say('/')
  expect(answer).toContain('key: ')
  expect(answer).not.toContain(theSecret.slice(0, 4))
  expect(await world.outcome()).toMatchObject({ status: 200, failure: 'upstream_failed' })
})

test('row 11: the caller’s own credentials do not travel beside the injected one', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  const own = [
    'Authorization: Bearer mine',
    'AUTHORIZATION: Bearer mine',
    'X-Api-Key: mine',
    'X_Api_Key: mine',
    'Cookie: s=mine',
    'Proxy-Authorization: Basic mine',
    'X-Other: kept',
  ]
  expect(await say('/', own)).toMatch(/^HTTP\/1\.1 200/)
  const raw = up.seen[0]?.rawHeaders ?? []
  expect(raw.join()).not.toContain('mine')
  expect(raw).toContain('kept')
  expect(raw.filter((name) => name.toLowerCase() === 'authorization')).toHaveLength(1)
})

test('row 13: http or another port of an allowed host gets nothing', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const plain = await world.upstream((_req, res) => res.end('ok'), 'http')
  const absolute = (port: number) =>
    `GET http://${host}:${port}/ HTTP/1.1\r\nHost: ${host}:${port}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
  expect(await sayAndRead(await world.connect(), absolute(up.port))).toContain('scheme_not_allowed')
  expect(await sayAndRead(await world.connect(), absolute(plain.port))).toContain('port_not_allowed')
  await expect(world.tunnel(host, plain.port)).rejects.toThrow('port_not_allowed')
  expect(world.dialled).toEqual([])
})

test('row 16: a redirect is passed on and never followed', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => {
    res.writeHead(302, { location: 'https://evil.example.com/' })
    res.end()
  })
  expect(await say('/')).toMatch(/^HTTP\/1\.1 302 [\s\S]*location: https:\/\/evil\.example\.com/)
  expect(up.seen).toHaveLength(1)
  expect(world.dialled).toHaveLength(1)
})

test('row 17: Alt-Svc is stripped, an upgrade to h2c or WebSocket is refused before anything is dialled', async () => {
  await using world = await makeWorld()
  const { say } = await armed(world, (_req, res) => {
    res.setHeader('Alt-Svc', 'h3=":443"')
    res.end('ok')
  })
  for (const to of ['h2c', 'websocket']) {
    expect(await say('/', ['Connection: Upgrade', `Upgrade: ${to}`])).toContain('upgrade_unsupported')
  }
  expect(world.dialled).toEqual([])
  expect(await say('/')).not.toMatch(/alt-svc/i)
})

test('row 18: an upstream that answers 101 unasked opens no pipe', async () => {
  await using world = await makeWorld()
  const { say } = await armed(world, (req) => {
    req.socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw bytes')
  })
  const answer = await say('/')
  expect(answer).toContain('answer_switched')
  expect(answer).not.toContain('raw bytes')
})

test('row 20: what the parser rejects is answered 400 without a word of it, and recorded', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const line = `POST /a HTTP/1.1\r\nHost: ${host}:${up.port}\r\n`
  const bad = [
    `${line}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${line}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`,
    `${line}Content-Length: +3\r\n\r\nabc`,
    `${line}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    `${line}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
    `${line}X: a\r\n b\r\n\r\n`,
    `${line}X: a\0b\r\n\r\n`,
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ]
  for (const text of bad) {
    const answer = await sayAndRead(await world.tunnel(host, up.port), text)
    expect([text, answer]).toEqual([text, expect.stringMatching(/^HTTP\/1\.1 400 /)])
  }
  expect(up.seen).toEqual([])
  // One of them is refused by us as soon as its head is there, and by the parser after that.
  const reasons = (await world.events('egress.denied', bad.length + 1)).map((event) => event.data['reason'])
  expect(reasons.filter((reason) => reason === 'parse_error')).toHaveLength(bad.length)
})

test('row 21: duplicate Host is refused, and so is a GET with a body, TRACE, and gzip beneath chunked', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => res.end('ok'))
  expect(await say('/', ['Host: evil.example.com'])).toContain('host_duplicate')
  expect(await say('/', [], 'GET', 'abc')).toContain('body_forbidden')
  expect(await say('/', [], 'TRACE')).toContain('method_forbidden')
  expect(await say('/', ['Transfer-Encoding: gzip, chunked'], 'POST')).toMatch(/framing_forbidden|400/)
  expect(await say('/#x')).toMatch(/path_malformed/)
  expect(up.seen).toEqual([])
})

test('row 23: bytes sent with CONNECT are refused, and a pipelined second request is decided for itself', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => res.end(req.url))
  await world.setRules([rule(host, up.port, { paths: ['/ok'] })])
  const early = await sayAndRead(
    await world.connect(),
    `${connectRequest(host, up.port, 'orders', world.lease)}GET / HTTP/1.1\r\n\r\n`,
  )
  expect(early).toContain('tunnel_early_data')
  const socket = await world.tunnel(host, up.port)
  let got = ''
  socket.on('data', (chunk: Buffer) => {
    got += chunk.toString()
  })
  socket.write(
    request(host, up.port, '/ok/1') + request(host, up.port, '/admin') + request(host, up.port, '/ok/2'),
  )
  await expect.poll(() => got).toContain('/ok/2')
  expect(got.indexOf('path_not_allowed')).toBeGreaterThan(got.indexOf('/ok/1'))
  expect(up.seen.map((seen) => seen.url)).toEqual(['/ok/1', '/ok/2'])
})

test('row 24: Connection cannot take the injected header away, and a compressed answer is refused', async () => {
  await using world = await makeWorld()
  let compress = false
  const { up, say } = await armed(world, (_req, res) => {
    if (compress) res.setHeader('content-encoding', 'gzip')
    res.end(compress ? gzipSync(theSecret) : 'ok')
  })
  await say('/', ['Connection: authorization, host, x-drop', 'X-Drop: 1', 'Accept-Encoding: gzip'])
  const raw = up.seen[0]?.rawHeaders ?? []
  expect(raw).toContain(`Bearer ${theSecret}`)
  expect(raw).not.toContain('X-Drop')
  expect(raw[raw.indexOf('Accept-Encoding') + 1]).toBe('identity')
  compress = true
  expect(await say('/')).toContain('answer_encoded')
})

test('row 26: server name, CONNECT target and Host must be one', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  await expect(world.tunnel(host, up.port, { servername: 'evil.example.com' })).rejects.toThrow(
    /closed|disconnected|ECONNRESET/,
  )
  const answer = await sayAndRead(
    await world.tunnel(host, up.port),
    request('evil.example.com', up.port, '/'),
  )
  expect(answer).toContain('host_mismatch')
  const events = await world.events('egress.denied', 2)
  expect(events.map((event) => event.data['reason'])).toEqual(['sni_mismatch', 'host_mismatch'])
  expect(world.dialled).toEqual([])
})

test('row 27: no server name, other bytes than TLS, and CONNECT inside a tunnel close it, each recorded', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const open = async () => {
    const socket = await world.connect()
    expect(await sayAndRead(socket, connectRequest(host, up.port, 'orders', world.lease))).toMatch(
      /^HTTP\/1\.1 200/,
    )
    return socket
  }
  const nameless = connectTls({ socket: await open(), ca: world.ca, checkServerIdentity: () => undefined })
  nameless.on('error', () => undefined)
  await new Promise((resolve) => nameless.once('close', resolve))
  const ssh = await open()
  ssh.write('SSH-2.0-OpenSSH_9.9\r\n')
  await new Promise((resolve) => ssh.once('close', resolve))
  const plain = await open()
  plain.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  await new Promise((resolve) => plain.once('close', resolve))
  const nested = await world.tunnel(host, up.port)
  nested.write(connectRequest(host, up.port, 'orders', world.lease))
  await new Promise((resolve) => nested.once('close', resolve))
  const events = await world.events('egress.denied', 4)
  expect(events.map((event) => event.data['reason'])).toEqual([
    'sni_mismatch',
    'tunnel_not_tls',
    'tunnel_not_tls',
    'connect_in_tunnel',
  ])
  expect(up.seen).toEqual([])
})

test('row 35: an upstream whose certificate is for another name, or not trusted, gets no request', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const { createServer } = await import('node:https')
  const { createLeaves, generateAuthority, importAuthority } = await import(
    '../../src/egress/keys/certificates.ts'
  )
  const ca = await generateAuthority(Date.now())
  const strangers = await createLeaves({
    authority: await importAuthority(ca.certificatePem, ca.keyPem),
    now: () => Date.now(),
    cacheSize: 5,
  })
  const server = createServer({
    SNICallback: (name, done) => void strangers.contextFor(name).then((context) => done(null, context)),
  })
  let asked = 0
  server.on('request', () => {
    asked += 1
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await world.setRules([rule(host, port, { inject: injectBearer }), rule(host, up.port)])
  expect(await sayAndRead(await world.tunnel(host, port), request(host, port, '/'))).toContain(
    'upstream_untrusted',
  )
  expect(asked).toBe(0)
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_untrusted' })
  await new Promise((resolve) => server.close(resolve))
})

test('row 41: control characters in a request reach no record and no log as they are, and strangers cannot flood', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 8443)])
  const socket = await world.connect()
  const target = `http://${host}/\x1b[31m%0d%0aevil`
  await sayAndRead(
    socket,
    `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`,
  )
  for (let i = 0; i < 40; i += 1) {
    await sayAndRead(
      await world.connect(),
      connectRequest(host, 8443, '\x1b[31mx', `nobody-knows-this-lease-${i}`),
    )
  }
  const events = await world.events('egress.denied', 30)
  await new Promise((resolve) => setTimeout(resolve, 150))
  const text = JSON.stringify(await world.events('egress.denied', 30)) + world.logged()
  expect(events.length).toBeLessThanOrEqual(31)
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  expect(text).not.toMatch(/\x1b|\\u001b/)
})

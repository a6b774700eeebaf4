import { brotliCompressSync, createGzip, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { Secret } from '../../../src/core/index.ts'
import { armed, deniedAs, host, listenTo, signWithSession } from '../../support/armed.ts'
import { echoes } from '../../support/echoes.ts'
import {
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
} from '../../support/egress-world.ts'
import { makeRawWorld } from '../../support/raw-upstream.ts'

const secretBytes = Buffer.from(theSecret)

test.each(echoes)(
  'row 7: a credential echoed %s comes back masked, in headers, trailers and split over chunks',
  async (_, echo) => {
    await using world = await makeWorld()
    const { say } = await armed(world, (_req, res) => {
      res.setHeader('x-echo', echo)
      res.setHeader('location', `https://elsewhere.example.com/?k=${encodeURIComponent(theSecret)}`)
      for (const name of ['set-cookie', 'set-cookie2']) res.setHeader(name, 'session=worth-a-credential')
      res.setHeader('alt-svc', 'h3=":443"')
      res.setHeader('trailer', 'x-late')
      let at = 0
      const drip = () => {
        if (at >= echo.length) {
          res.addTrailers({ 'x-late': echo })
          res.end(' end')
          return
        }
        res.write(echo.slice(at, at + 7))
        at += 7
        setImmediate(drip)
      }
      res.write('begin ')
      drip()
    })
    const answer = await say('/')
    expect(answer).toContain('200 OK')
    expect(answer).toContain('begin')
    expect(answer).not.toContain(echo)
    expect(answer).toMatch(/\r\n0\r\nx-late: .*\*{9}/)
    expect(answer).not.toMatch(/worth-a-credential|alt-svc/i)
    expect(answer).not.toContain(encodeURIComponent(theSecret))
    expect((await world.outcome())['redactions']).toBeGreaterThan(0)
    expect(world.logged()).not.toContain(theSecret)
  },
)

test('row 7: pages of errors, names of headers and the reason phrase show it to nobody either', async () => {
  await using world = await makeRawWorld()
  const hex = secretBytes.toString('hex')
  await using up = await world.start((socket) => {
    const body = `you sent: Authorization: Bearer ${theSecret}`
    socket.end(
      `HTTP/1.1 418 ${theSecret.replaceAll('"', '')}\r\nX-${hex}: 1\r\nX-Debug: ${theSecret}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
  })
  await world.world.setRules([rule(host, up.port, { inject: injectBearer })])
  const answer = await sayAndRead(await world.world.tunnel(host, up.port), request(host, up.port, '/'))
  expect(answer).toMatch(/^HTTP\/1\.1 418 [^]*you sent: Authorization: Bearer \*{9}/)
  expect(answer).not.toContain(theSecret.slice(0, 12))
  expect(answer).not.toContain(hex)
  expect(
    deniedAs(
      await sayAndRead(await world.world.tunnel(host, up.port), request(host, up.port, '/', [], 'TRACE')),
    ),
  ).toBe('method_forbidden')
})

test('row 7: an event that is split between two writes is masked, and the events around it come at once', async () => {
  await using world = await makeWorld()
  let send: (text: string) => void = () => undefined
  const { up } = await armed(world, (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.flushHeaders()
    send = (text) => void res.write(text)
  })
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  socket.write(request(host, up.port, '/events'))
  await expect.poll(() => heard.text).toContain('text/event-stream')
  send('data: one\n\n')
  await expect.poll(() => heard.text).toContain('data: one\n\n')
  send(`data: ${theSecret.slice(0, 15)}`)
  await new Promise((resolve) => setTimeout(resolve, 50))
  send(`${theSecret.slice(15)} two\n\n`)
  await expect.poll(() => heard.text).toContain('* two\n\n')
  expect(heard.text).not.toContain(theSecret.slice(0, 8))
})

const codings = {
  gzip: gzipSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
}
test.each(Object.entries(codings))(
  'row 7: an answer compressed with %s that nobody asked for shows it to nobody',
  async (name, pack) => {
    await using world = await makeWorld()
    const packed = pack(Buffer.from(`key: ${theSecret} end`))
    const { say } = await armed(world, (_req, res) => res.setHeader('content-encoding', name).end(packed))
    const answer = await say('/', [`Accept-Encoding: ${name}`])
    expect(answer).toMatch(/key: \*{9}.* end/)
    expect(answer).not.toMatch(/content-encoding|content-length/i)
    expect(answer).not.toContain(theSecret.slice(0, 8))
  },
)

test('row 7: an answer without a body is not taken for a compressed one that was cut off', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.setHeader('content-encoding', 'gzip').end())
  await world.setRules([rule(host, up.port, { methods: ['HEAD'], inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  socket.write(request(host, up.port, '/', [], 'HEAD'))
  await expect.poll(() => heard.text).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/)
  expect(await world.outcome()).toMatchObject({ status: 200, failure: null })
})

test('row 7: events that come compressed are decoded and masked as they come', async () => {
  await using world = await makeWorld()
  const zip = createGzip()
  const { up } = await armed(world, (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
    zip.pipe(res)
  })
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  socket.write(request(host, up.port, '/events'))
  for (const [event, shown] of [
    ['data: one\n\n', 'data: one\n\n'],
    [`data: ${theSecret}\n\n`, '***\n\n'],
  ] as const) {
    zip.write(event)
    zip.flush()
    await expect.poll(() => heard.text).toContain(shown)
  }
  expect(heard.text).not.toContain(theSecret.slice(0, 8))
})

const packed = gzipSync(`key: ${theSecret} ${'x'.repeat(5_000)}`)
test.each<[string, string, Buffer, RegExp]>([
  ['upon compressed', 'gzip, br', brotliCompressSync(packed), /answer_encoded/],
  ['in a way that is read in two ways', 'deflate', deflateSync(theSecret), /answer_encoded/],
  ['in an unknown way', 'toolcrib', packed, /answer_encoded/],
  ['message by message', 'identity\r\ngrpc-encoding: gzip', packed, /answer_encoded/],
  [
    'message by message, as Connect does',
    'identity\r\nconnect-content-encoding: gzip',
    packed,
    /answer_encoded/,
  ],
  ['and cut off', 'gzip', packed.subarray(0, -12), /200 OK/],
  ['and followed by more', 'gzip', Buffer.concat([packed, Buffer.from('tail')]), /200 OK/],
  ['and followed by zeros', 'gzip', Buffer.concat([packed, Buffer.alloc(8)]), /200 OK/],
  ['and followed by more', 'br', Buffer.concat([brotliCompressSync('one'), Buffer.from('tail')]), /200 OK/],
  // Node's decoder stops behind the first of two frames.
  ['twice', 'zstd', Buffer.concat([zstdCompressSync('one'), zstdCompressSync('two')]), /200 OK/],
  ['and is not', 'gzip', Buffer.from(`key: ${theSecret}`), /200 OK/],
])('row 7: an answer that is compressed %s is not let through whole', async (_, coding, body, begin) => {
  await using world = await makeRawWorld()
  await using up = await world.start((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${body.length}\r\n\r\n`)
    socket.write(body)
  })
  await world.world.setRules([rule(host, up.port, { inject: injectBearer })])
  const answer = await sayAndRead(await world.world.tunnel(host, up.port), request(host, up.port, '/'))
  expect(answer).toMatch(begin)
  expect(answer).not.toContain('\r\n0\r\n\r\n')
  expect(answer).not.toContain(theSecret.slice(0, 8))
  expect((await world.world.outcome())['failure']).toMatch(/answer_encoded|upstream_failed/)
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

test('row 7: the base64 of Basic is masked where JSON, a form or a page writes it in a way of its own', async () => {
  await using world = await makeWorld()
  // Its base64 is full of what those escape.
  const pair = 'robot:?~>???aaaa?~>???bbb'
  await world.vault.setCredential({
    name: 'ORDERS_KEY',
    scope: 'global',
    scopeId: '',
    value: new Secret(pair),
    by: 'test',
  })
  const { say } = await armed(
    world,
    (req, res) => {
      const sent = req.headers.authorization ?? ''
      const shown = [
        JSON.stringify({ sent }).replaceAll('/', '\\/'),
        JSON.stringify({ sent }).replaceAll('+', '\\u002B'),
        new URLSearchParams({ sent }).toString(),
        sent.replaceAll('=', '&#x3D;').replaceAll('/', '&#x2F;'),
        sent.replaceAll('+', '&#x2B;'),
      ]
      res.end(shown.map((each) => `[${each}]`).join('\n'))
    },
    { inject: [{ credential: 'ORDERS_KEY', into: 'basic' }] as never },
  )
  const base64 = Buffer.from(pair).toString('base64')
  expect(base64).toMatch(/\+.*\/.*=$/)
  const answer = await say('/')
  expect(answer).toContain('200 OK')
  expect(answer.match(/\[.*\*{30,}.*\]/g)).toHaveLength(5)
  expect(answer).not.toContain(base64.slice(-12, -4))
})

test.each([
  'sk_live_0123456789abcdef:',
  'sk_live_0123456789abcdef:X',
  'sk_live_0123456789abcdef:x-oauth-basic',
])('row 7: of %s the user is the secret, and is masked alone too', async (pair) => {
  await using world = await makeWorld()
  const value = new Secret(pair)
  await world.vault.setCredential({ name: 'ORDERS_KEY', scope: 'global', scopeId: '', value, by: 't' })
  const { say } = await armed(
    world,
    (req, res) => {
      const sent = Buffer.from((req.headers.authorization ?? '').slice(6), 'base64').toString()
      res.end(`no such user: ${sent.split(':')[0]}.`)
    },
    { inject: [{ credential: 'ORDERS_KEY', into: 'basic' }] as never },
  )
  expect(await say('/')).toContain(`no such user: ${'*'.repeat(24)}.`)
})

test('row 7: one credential inside another leaves nothing of the other in sight', async () => {
  await using world = await makeWorld()
  const long = 'sk-acme-9f8e7d6c5b4a'
  for (const [name, value] of [
    ['ORDERS_KEY', long],
    ['ACCOUNT', 'acme'],
  ] as const)
    await world.vault.setCredential({ name, scope: 'global', scopeId: '', value: new Secret(value), by: 't' })
  const { say } = await armed(
    world,
    (req, res) => {
      res.setHeader('x-echo', `${req.headers.authorization}`)
      res.write(`key ${long.slice(0, 8)}`)
      setTimeout(() => res.end(`${long.slice(8)}; account ${String(req.headers['x-account'])}.`), 20)
    },
    { inject: [...injectBearer, { credential: 'ACCOUNT', into: 'header:x-account' }] as never },
  )
  const answer = await say('/')
  expect(answer).toContain(`x-echo: Bearer ${'*'.repeat(long.length)}\r\n`)
  expect(answer).toContain(`${'*'.repeat(long.length - 8)}; account ****.`)
  expect(answer).not.toMatch(/sk-|9f8e|5b4a/)
})

test('row 7: an upstream is not asked for messages that are compressed each for itself', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(world, (_req, res) => {
    res.setHeader('connect-content-encoding', 'identity').end('ok')
  })
  expect(await say('/', ['Connect-Accept-Encoding: gzip', 'Grpc-Accept-Encoding: gzip'])).toContain('200 OK')
  expect(up.seen[0]?.rawHeaders.join()).toMatch(/^(?![^]*gzip)[^]*accept-encoding,identity/i)
})

test('row 7: what another rule of the same host sends beside its signature is searched for too', async () => {
  await using world = await makeWorld()
  const token = 'session+token/of=ours'
  for (const [name, value] of [
    ['AWS_ID', 'AKIAREALREALREAL'],
    ['AWS_SECRET', 'real/secret+access/key=0123456789abcdef'],
    ['AWS_SESSION', token],
  ] as const)
    await world.vault.setCredential({ name, scope: 'global', scopeId: '', value: new Secret(value), by: 't' })
  const up = await world.upstream((req, res) => {
    const sent = req.headers['x-amz-security-token']
    res.end(typeof sent === 'string' ? `took ${sent}` : `last token seen: ${token}`)
  })
  await world.setRules([
    rule(host, up.port, { paths: ['/v1'], sign: signWithSession }),
    rule(host, up.port, { paths: ['/log'] }),
  ])
  for (const [path, shown] of [
    ['/v1', 'took ***'],
    ['/log', 'last token seen: ***'],
  ] as const) {
    const answer = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path))
    expect(answer).toContain(shown)
    expect(answer).not.toContain(token)
  }
  // Not set for this person: nothing can come back, and the other rule has no need of it.
  await world.vault.removeCredential({ name: 'AWS_SESSION', scope: 'global', scopeId: '', by: 't' })
  await expect
    .poll(async () => await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/log')))
    .toContain(token)
})

test('row 8: Range is dropped on an injected route, and a partial answer is refused, by HEAD as by GET', async () => {
  await using world = await makeWorld()
  const { up, say } = await armed(
    world,
    (_req, res) => {
      res.writeHead(206, { 'content-range': 'bytes 0-3/40' })
      res.end(theSecret.slice(0, 4))
    },
    { methods: ['GET', 'HEAD'] },
  )
  for (const method of ['GET', 'HEAD']) {
    const answer = await say(
      '/',
      [
        'Range: bytes=0-3',
        'If-Range: x',
        'RANGE: bytes=4-7',
        'Request-Range: bytes=0-3',
        'Connection: close',
      ],
      method,
    )
    expect(answer).toMatch(/^HTTP\/1\.1 502/)
    expect(deniedAs(answer)).toBe('answer_partial')
  }
  const sent = up.seen.flatMap((seen) => seen.rawHeaders.filter((_, index) => index % 2 === 0))
  expect(
    sent.map((name) => name.toLowerCase()).filter((name) => /^(?:if-|request-)?range$/.test(name)),
  ).toEqual([])
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

test('row 10: the host in other letters is the same host and as masked, with a trailing dot it is none', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (req, res) => res.end(`seen ${req.headers.authorization}`))
  const loud = 'ORDERS.Example.COM'
  const socket = await world.tunnel(loud, up.port)
  const answer = await sayAndRead(socket, request(loud, up.port, '/'))
  expect(answer).toContain('seen Bearer ***')
  expect(answer).not.toContain(theSecret)
  expect(up.seen[0]).toMatchObject({ servername: host })
  expect(up.seen[0]?.rawHeaders[1]).toBe(`${host}:${up.port}`)
  for (const name of [`${host}.`, `${host}..`, `.${host}`]) {
    const refused = await sayAndRead(
      await world.connect(),
      connectRequest(name, up.port, 'orders', world.lease),
    )
    expect([name, deniedAs(refused)]).toEqual([name, 'host_malformed'])
    expect(deniedAs(await sayAndRead(socket, request(name, up.port, '/')))).toBe('host_malformed')
  }
  expect(up.seen).toHaveLength(1)
})

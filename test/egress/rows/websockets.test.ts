import { expect, test } from 'vitest'
import { Secret } from '../../../src/core/index.ts'
import { webSocketAccept } from '../../../src/egress/request/websocket.ts'
import { placeholderFor } from '../../../src/vault/index.ts'
import { injectBearer, makeWorld, rule, sayAndRead, theSecret } from '../../support/egress-world.ts'
import { mustOpen, openWebSocket, startWebSocketUpstream } from '../../support/websocket.ts'

const host = 'live.example.com'
const opens = { methods: ['WEBSOCKET'], paths: ['/live'] }
const masked = /^Bearer \*+$/

test('a WebSocket works both ways: the credential is added to its handshake, and masked in every frame', async () => {
  await using world = await makeWorld()
  await using up = await startWebSocketUpstream(
    world.upstreamContext,
    (socket, headers) => {
      socket.on('message', (data: Buffer, binary) => socket.send(data, { binary }))
      socket.send(headers.authorization ?? '')
      // One message in three frames, cut in the middle of the credential, with a ping between them.
      const whole = `{"key":"${headers.authorization}"}`
      socket.send(whole.slice(0, 30), { fin: false })
      socket.ping('between')
      socket.send(whole.slice(30, 35), { fin: false })
      socket.send(whole.slice(35), { fin: true })
      socket.ping(theSecret)
    },
    { handleProtocols: () => 'chat', perMessageDeflate: true },
  )
  await world.setRules([rule(host, up.port, { ...opens, inject: injectBearer })])
  const { socket, answer, messages, closed } = await mustOpen(world, {
    host,
    port: up.port,
    protocols: ['chat', 'other'],
  })
  const pings: string[] = []
  socket.on('ping', (data: Buffer) => pings.push(data.toString('latin1')))
  expect(up.seen[0]).toMatchObject({ authorization: `Bearer ${theSecret}`, upgrade: 'websocket' })
  // No extension is agreed on, so that no frame is compressed.
  expect(up.seen[0]).not.toHaveProperty('sec-websocket-extensions')
  expect(answer).toMatchObject({ 'sec-websocket-protocol': 'chat' })
  socket.send('hello')
  socket.send(Buffer.alloc(200_000, 7))
  await expect.poll(() => messages.length).toBe(4)
  expect(messages[0]).toMatch(masked)
  expect(messages[1]).toMatch(/^\{"key":"Bearer \*+"\}$/)
  expect(messages[1]).toHaveLength(`{"key":"Bearer ${theSecret}"}`.length)
  expect(messages[2]).toBe('hello')
  expect(messages[3]).toBe(Buffer.alloc(200_000, 7).toString('latin1'))
  expect(pings.every((ping) => ping === 'between' || /^\*+$/.test(ping))).toBe(true)
  socket.close(4_000, 'done')
  expect(await closed).toBe(4_000)
  const [event] = await world.events('egress.allowed')
  expect(event?.data).toMatchObject({
    method: 'WEBSOCKET',
    path: '/live',
    credentials: [{ credential: 'ORDERS_KEY', slot: 'header:authorization' }],
  })
  const outcome = await world.outcome()
  expect(outcome).toMatchObject({ status: 101, redactions: 3, failure: null })
  // Three to four of ours answered a ping; the server closed, too.
  expect(outcome['frames']).toEqual({ sent: 5, received: 9 })
  expect(outcome['bytesOut']).toBeGreaterThan(200_000)
})

test('a rule for GET opens no WebSocket, one for WEBSOCKET answers no GET, and the refusal says what would', async () => {
  await using world = await makeWorld()
  await using up = await startWebSocketUpstream(world.upstreamContext, () => undefined)
  await world.setRules([rule(host, up.port, { methods: ['GET'], paths: ['/live'] })])
  const refused = await openWebSocket(world, { host, port: up.port })
  expect(refused).toMatchObject({ status: 403, body: expect.stringContaining('method_not_allowed') })
  expect(JSON.stringify(refused)).toContain(
    `toolcrib egress allow orders WEBSOCKET https://${host}:${up.port}/live`,
  )
  await world.setRules([rule(host, up.port, opens)])
  const tunnel = await world.tunnel(host, up.port)
  const answer = await sayAndRead(tunnel, `GET /live HTTP/1.1\r\nHost: ${host}:${up.port}\r\n\r\n`)
  expect(answer).toContain('method_not_allowed')
  expect(up.seen).toEqual([])
})

test.each([
  ['with all of it', 0, null],
  ['with as much of it as comes, and its upstream is blamed for the rest', 1, 'upstream_timeout'],
])('a handshake that is answered by something long is answered %s', async (_, missing, failure) => {
  await using world = await makeWorld({ limits: { idleTimeoutMs: 500 } })
  const up = await world.upstream(() => undefined)
  const body = 'a'.repeat(1024 * 1024)
  up.onUpgrade((socket) => {
    socket.write(`HTTP/1.1 403 No\r\nContent-Length: ${body.length + missing}\r\n\r\n${body}`)
  })
  await world.setRules([rule(host, up.port, opens)])
  const tunnel = await world.tunnel(host, up.port)
  let got = ''
  tunnel.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')))
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  tunnel.write(handshake(up.port))
  await closed
  expect(got).toMatch(/^HTTP\/1\.1 403 /)
  expect(got.slice(got.indexOf('\r\n\r\n') + 4) === body).toBe(true)
  expect(await world.outcome()).toMatchObject({ status: 403, bytesIn: body.length, failure })
})

const key = 'dGhlIHNhbXBsZSBub25jZQ=='
const handshake = (port: number) =>
  `GET /live HTTP/1.1\r\nHost: ${host}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: chat\r\n\r\n`
const proof = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${webSocketAccept(key)}\r\n`

test('row 11: a key of the caller’s own among the subprotocols does not travel beside the injected one', async () => {
  await using world = await makeWorld()
  await using up = await startWebSocketUpstream(world.upstreamContext, () => undefined, {
    handleProtocols: (offered) => offered.values().next().value ?? false,
  })
  const keys = ['openai-insecure-api-key.mine', 'base64url.bearer.authorization.k8s.io.bWluZQ']
  const open = async (protocols: string[]) =>
    (await mustOpen(world, { host, port: up.port, protocols })).answer['sec-websocket-protocol']
  await world.setRules([rule(host, up.port, { ...opens, inject: injectBearer })])
  expect(await open([...keys, 'realtime', 'beta.v1'])).toBe('realtime')
  expect(up.seen[0]).toMatchObject({ 'sec-websocket-protocol': 'realtime, beta.v1' })
  const lines = `Sec-WebSocket-Protocol: ${keys.join(',')}`
  const text = handshake(up.port).replace('Sec-WebSocket-Protocol: chat', lines)
  expect(await sayAndRead(await world.tunnel(host, up.port), text)).toContain(' 101 ')
  expect(up.seen[1]).not.toHaveProperty('sec-websocket-protocol')
  await world.setRules([rule(host, up.port, opens)])
  expect(await open([...keys, 'realtime'])).toBe(keys[0])
})

test('row 24: Connection takes nothing from a handshake that was judged with it', async () => {
  await using world = await makeWorld()
  await using up = await startWebSocketUpstream(world.upstreamContext, () => undefined)
  await world.setRules([rule(host, up.port, opens)])
  const connection = 'Connection: Upgrade, sec-websocket-key, sec-websocket-version'
  const text = handshake(up.port).replace('Connection: Upgrade', connection)
  expect(await sayAndRead(await world.tunnel(host, up.port), text)).toContain(' 101 ')
  expect(up.seen[0]).toMatchObject({ 'sec-websocket-key': key, 'sec-websocket-version': '13' })
})

test.each<[string, string]>([
  ['no digest', 'HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'],
  [
    'the digest of another key',
    `HTTP/1.1 101 OK\r\n${proof.replace(webSocketAccept(key), webSocketAccept('AAAAAAAAAAAAAAAAAAAAAA=='))}\r\n`,
  ],
  ['two digests', `HTTP/1.1 101 OK\r\n${proof}Sec-WebSocket-Accept: ${webSocketAccept(key)}\r\n\r\n`],
  ['another protocol', `HTTP/1.1 101 OK\r\n${proof.replace('websocket', 'h2c')}\r\n`],
  ['a subprotocol that was not offered', `HTTP/1.1 101 OK\r\n${proof}Sec-WebSocket-Protocol: raw\r\n\r\n`],
  [
    'an extension that was not offered',
    `HTTP/1.1 101 OK\r\n${proof}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n`,
  ],
])('row 18: a 101 with %s opens no pipe', async (_, head) => {
  await using world = await makeWorld()
  const up = await world.upstream(() => undefined)
  up.onUpgrade((socket) => socket.write(`${head}raw bytes`))
  await world.setRules([rule(host, up.port, opens)])
  const tunnel = await world.tunnel(host, up.port)
  const answer = await sayAndRead(tunnel, handshake(up.port))
  expect(answer).toContain('502')
  expect(answer).toContain('answer_switched')
  expect(answer).not.toContain('raw bytes')
  expect(await world.outcome()).toMatchObject({ failure: 'answer_switched' })
})

test('row 18: a 200 in answer to a handshake is an answer, and what the client sends behind it goes nowhere', async () => {
  await using world = await makeWorld()
  let heard = ''
  const up = await world.upstream(() => undefined)
  up.onUpgrade((socket) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString()
    })
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain')
  })
  await world.setRules([rule(host, up.port, opens)])
  const tunnel = await world.tunnel(host, up.port)
  let answer = ''
  tunnel.on('data', (chunk: Buffer) => {
    answer += chunk.toString()
  })
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  tunnel.write(handshake(up.port))
  await expect.poll(() => answer).toContain('plain')
  tunnel.write('GET /admin HTTP/1.1\r\nHost: x\r\n\r\n')
  await closed
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  expect(heard).toBe('')
})

test('row 18: a request hidden behind a handshake is not passed on', async () => {
  await using world = await makeWorld()
  const seen: string[] = []
  const up = await world.upstream((req, res) => {
    seen.push(req.url ?? '')
    res.end()
  })
  await world.setRules([rule(host, up.port, opens)])
  const tunnel = await world.tunnel(host, up.port)
  const hidden = `GET /admin HTTP/1.1\r\nHost: ${host}:${up.port}\r\n\r\n`
  const answer = await sayAndRead(tunnel, `${handshake(up.port)}${hidden}`)
  expect(answer).toContain('websocket_malformed')
  expect(seen).toEqual([])
  expect(world.dialled).toEqual([])
})

const clientFrame = (first: number, second: number, ...rest: number[]) =>
  Buffer.from([first, second, ...rest])

test.each<[string, Buffer]>([
  ['HTTP in place of frames', Buffer.from('GET /admin HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['no mask', clientFrame(0x81, 0x01, 0x61)],
  ['a reserved bit', clientFrame(0xc1, 0x81, 0, 0, 0, 0, 0x61)],
  ['an unknown opcode', clientFrame(0x83, 0x81, 0, 0, 0, 0, 0x61)],
  ['the end of a message that never began', clientFrame(0x80, 0x81, 0, 0, 0, 0, 0x61)],
  ['a length not in its shortest form', clientFrame(0x81, 0xfe, 0, 1, 0, 0, 0, 0, 0x61)],
  ['a ping in pieces', clientFrame(0x09, 0x81, 0, 0, 0, 0, 0x61)],
  ['a message within a message', clientFrame(0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0)],
  ['a message after the close', clientFrame(0x88, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0)],
])('row 18: %s behind a good handshake ends the WebSocket', async (_, bytes) => {
  await using world = await makeWorld()
  let heard = 0
  const up = await world.upstream(() => undefined)
  up.onUpgrade((socket) => {
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.length
    })
    socket.write(`HTTP/1.1 101 OK\r\n${proof}\r\n`)
  })
  await world.setRules([rule(host, up.port, opens)])
  const tunnel = await world.tunnel(host, up.port)
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  expect(await sayAndRead(tunnel, handshake(up.port))).toContain('101')
  tunnel.write(bytes)
  await closed
  expect(await world.outcome()).toMatchObject({ status: 101, failure: 'websocket_malformed' })
  expect(heard).toBe(0)
})

test('row 18: an upstream that sends what is no frame is cut off', async () => {
  await using world = await makeWorld()
  const up = await world.upstream(() => undefined)
  up.onUpgrade((socket) => {
    socket.write(`HTTP/1.1 101 OK\r\n${proof}\r\n`)
    socket.write(Buffer.from([0x81, 0x02, 0x68, 0x69]))
    setTimeout(() => socket.write('HTTP/1.1 200 OK\r\n\r\nraw bytes'), 50)
  })
  await world.setRules([rule(host, up.port, opens)])
  const tunnel = await world.tunnel(host, up.port)
  let heard = ''
  tunnel.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1')
  })
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  tunnel.write(handshake(up.port))
  await closed
  expect(heard.slice(heard.indexOf('\r\n\r\n') + 4)).toBe('\x81\x02hi')
  expect(await world.outcome()).toMatchObject({ failure: 'upstream_failed', frames: { received: 1 } })
})

test('a withdrawn lease, and a rule that goes, end an open WebSocket within a second, on both sides', async () => {
  await using world = await makeWorld()
  await using up = await startWebSocketUpstream(world.upstreamContext, () => undefined)
  await world.setRules([rule(host, up.port, opens)])
  const first = await mustOpen(world, { host, port: up.port })
  const gone = new Promise((resolve) => up.sockets[0]?.once('close', resolve))
  const began = Date.now()
  await world.setRules([rule(host, up.port, { methods: ['GET'], paths: ['/live'] })])
  expect(await first.closed).toBe(1_006)
  await gone
  expect(Date.now() - began).toBeLessThan(1_000)
  expect(await world.outcome()).toMatchObject({ failure: 'revoked' })

  await world.setRules([rule(host, up.port, opens)])
  const second = await mustOpen(world, { host, port: up.port })
  await world.store.db.deleteFrom('leases').execute()
  expect(await second.closed).toBe(1_006)
})

test('a WebSocket is held to the bytes that a person may send, and ends when nothing passes', async () => {
  await using world = await makeWorld({ limits: { sentPerHourPerPrincipal: 100_000, idleTimeoutMs: 300 } })
  await using up = await startWebSocketUpstream(world.upstreamContext, () => undefined)
  await world.setRules([rule(host, up.port, opens)])
  const idle = await mustOpen(world, { host, port: up.port })
  expect(await idle.closed).toBe(1_006)
  expect(await world.outcome()).toMatchObject({ failure: 'upstream_timeout' })
  const busy = await mustOpen(world, { host, port: up.port })
  busy.socket.send(Buffer.alloc(150_000))
  expect(await busy.closed).toBe(1_006)
  await expect
    .poll(async () =>
      (await world.events()).some(({ data }) => JSON.stringify(data).includes('sent_bytes_exceeded')),
    )
    .toBe(true)
})

test('a WebSocket that cannot be searched any more is cut off, and the log says where, without its bytes', async () => {
  await using world = await makeWorld()
  // A text that repeats a credential that repeats itself begins it at too many places.
  const value = new Secret('a'.repeat(4_000))
  await world.vault.setCredential({ name: 'ORDERS_KEY', scope: 'global', scopeId: '', value, by: 'test' })
  await using up = await startWebSocketUpstream(world.upstreamContext, (socket) => {
    socket.send('&#97;'.repeat(2_500), { fin: false })
  })
  await world.setRules([rule(host, up.port, { ...opens, inject: injectBearer })])
  const { closed, messages } = await mustOpen(world, { host, port: up.port })
  expect(await closed).toBe(1_006)
  expect(messages).toEqual([])
  expect(await world.outcome()).toMatchObject({ failure: 'scrub_failed' })
  const line = world
    .logged()
    .split('\n')
    .find((one) => one.includes('could not be searched'))
  expect(JSON.parse(line ?? '{}')).toMatchObject({
    place: [
      expect.stringContaining('secrets/form-'),
      expect.anything(),
      expect.anything(),
      expect.anything(),
      expect.anything(),
    ],
  })
  expect(world.logged()).not.toContain('&#97;')
})

test('a placeholder in a frame stays what it is, and is recorded', async () => {
  await using world = await makeWorld()
  const heard: string[] = []
  await using up = await startWebSocketUpstream(world.upstreamContext, (socket) => {
    socket.on('message', (data: Buffer) => heard.push(data.toString()))
  })
  await world.setRules([
    rule(host, up.port, { ...opens, inject: injectBearer.map((one) => ({ ...one, placeholder: true })) }),
  ])
  const standIn = placeholderFor('ORDERS_KEY', world.principalId, 'toolcrib-')
  const { socket, closed } = await mustOpen(world, { host, port: up.port })
  socket.send(`my key is ${standIn}`)
  await expect.poll(() => heard).toEqual([`my key is ${standIn}`])
  socket.close()
  await closed
  expect(await world.outcome()).toMatchObject({ inert: ['ORDERS_KEY'], failure: null })
})

test('row 5: a placeholder in pieces over frames, with a ping in the middle, is recorded all the same, and one in a ping', async () => {
  await using world = await makeWorld()
  const heard: string[] = []
  await using up = await startWebSocketUpstream(world.upstreamContext, (socket) => {
    for (const kind of ['message', 'ping'] as const)
      socket.on(kind, (data: Buffer) => heard.push(data.toString()))
  })
  await world.setRules([
    rule(host, up.port, { ...opens, inject: injectBearer.map((one) => ({ ...one, placeholder: true })) }),
  ])
  const standIn = placeholderFor('ORDERS_KEY', world.principalId, 'toolcrib-')
  const pieces = await mustOpen(world, { host, port: up.port })
  pieces.socket.send(standIn.slice(0, 10), { fin: false })
  pieces.socket.ping('between')
  pieces.socket.send(standIn.slice(10, 12), { fin: false })
  pieces.socket.send(standIn.slice(12), { fin: true })
  await expect.poll(() => heard).toEqual(['between', standIn])
  pieces.socket.close()
  await pieces.closed
  expect(await world.outcome()).toMatchObject({ inert: ['ORDERS_KEY'], failure: null })
  const ping = await mustOpen(world, { host, port: up.port })
  ping.socket.ping(standIn)
  await expect.poll(() => heard).toEqual(['between', standIn, standIn])
  ping.socket.close()
  await ping.closed
  await world.events('egress.allowed', 2)
  expect(await world.outcome()).toMatchObject({ inert: ['ORDERS_KEY'], failure: null })
})

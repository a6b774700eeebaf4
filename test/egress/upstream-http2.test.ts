import { constants, createSecureServer } from 'node:http2'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer as createTls } from 'node:tls'
import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead, type World } from '../support/egress-world.ts'
import {
  ask,
  frame,
  frameType,
  headerBlock,
  http2Client,
  pseudoHeaders,
  startHttp2Upstream,
} from '../support/http2.ts'
import { byServerName, listenLocally } from '../support/listening.ts'
import { startRawHttp2 } from '../support/raw-http2.ts'

const host = 'orders.example.com'

test('a cold burst to an upstream that takes few streams at once is answered, each by a stream it has room for', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(
    world.upstreamContext,
    (stream) => {
      setTimeout(() => {
        stream.respond({ ':status': 200 })
        stream.end('ok')
      }, 100)
    },
    { maxConcurrentStreams: 2 },
  )
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const fields = Object.fromEntries(pseudoHeaders(host, up.port))
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(client, fields)))
  expect(answers.map(({ status, body }) => `${status} ${body}`)).toEqual(Array(6).fill('200 ok'))
  expect(up.seen).toHaveLength(6)
  expect(up.sessions.length).toBeLessThanOrEqual(3)
  client.destroy()
})

test('a hundred answers at once are whole, also of a server that would reset those that wait for the connection', async () => {
  await using world = await makeWorld()
  const context = await world.upstreamContext(host)
  const body = 'x'.repeat(20_000)
  const server = createSecureServer(
    byServerName(async () => context),
    (_req, res) => res.end(body),
  )
  const port = await listenLocally(server)
  try {
    await world.setRules([rule(host, port)])
    const client = http2Client(await world.tunnel(host, port, { protocols: ['h2'] }))
    const fields = Object.fromEntries(pseudoHeaders(host, port))
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(client, fields)))
    expect(answers.map((answer) => answer.body === body)).toEqual(Array(100).fill(true))
    client.destroy()
  } finally {
    server.close()
  }
})

test('a stream that its upstream refuses is told as not begun, and is sent once', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) =>
    stream.close(constants.NGHTTP2_REFUSED_STREAM),
  )
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  for (const method of ['GET', 'POST']) {
    const answer = await sayAndRead(
      socket,
      request(host, up.port, '/', [], method, method === 'POST' ? 'a' : ''),
    )
    expect(answer).toMatch(/^HTTP\/1\.1 503 [^]*x-toolcrib-denied: upstream_refused/)
  }
  expect(up.seen).toHaveLength(2)
  expect(await world.outcome()).toMatchObject({ failure: 'upstream_refused' })
})

test('an interim answer and then a refusal is a request that may have been acted on', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.additionalHeaders({ ':status': 103 })
    setTimeout(() => stream.close(constants.NGHTTP2_REFUSED_STREAM), 30)
  })
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('upstream_failed')
})

test('a connection that went deaf gets one request, and is closed once nothing waits on it any more', async () => {
  await using world = await makeWorld({ limits: { idleTimeoutMs: 400 } })
  await using up = await startHttp2Upstream(world.upstreamContext, (stream, headers) => {
    // One is kept up as long as its connection lives.
    const more = headers[':path'] === '/slow' ? setInterval(() => stream.write('more'), 100) : undefined
    stream.once('close', () => clearInterval(more))
    stream.respond({ ':status': 200 })
    if (more === undefined) stream.end('ok')
  })
  const relayed: { deafen: () => void; closed: boolean }[] = []
  const relay = createServer((socket: Socket) => {
    const inner = connect(up.port, '127.0.0.1')
    const one = { deafen: () => void socket.unpipe(inner).resume(), closed: false }
    relayed.push(one)
    for (const side of [socket, inner]) side.on('error', () => undefined)
    socket.once('close', () => {
      one.closed = true
      inner.destroy()
    })
    socket.pipe(inner).pipe(socket)
  })
  const port = await listenLocally(relay)
  try {
    await world.setRules([rule(host, port)])
    const socket = await world.tunnel(host, port)
    const slow = http2Client(await world.tunnel(host, port, { protocols: ['h2'] }))
    const going = slow.request(Object.fromEntries(pseudoHeaders(host, port, 'GET', '/slow')))
    going.on('error', () => undefined).resume()
    await new Promise((resolve) => going.once('data', resolve))
    expect(await sayAndRead(socket, request(host, port, '/'))).toContain('ok')
    expect(relayed).toHaveLength(1)
    relayed[0]?.deafen()
    expect(await sayAndRead(socket, request(host, port, '/'))).toContain('upstream_timeout')
    expect(await sayAndRead(await world.tunnel(host, port), request(host, port, '/'))).toContain('200 OK')
    expect(relayed).toHaveLength(2)
    expect(relayed.map(({ closed }) => closed)).toEqual([false, false])
    slow.destroy()
    await expect.poll(() => relayed[0]?.closed).toBe(true)
    expect(relayed[1]?.closed).toBe(false)
  } finally {
    relay.close()
  }
})

test('an upstream that agrees on HTTP/2 and never speaks it holds nobody up for longer than one request may take', async () => {
  await using world = await makeWorld({ limits: { idleTimeoutMs: 300 } })
  const sockets = new Set<Socket>()
  const silent = createTls({ ...byServerName(world.upstreamContext), ALPNProtocols: ['h2'] }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).resume()
  })
  const port = await listenLocally(silent)
  try {
    await world.setRules([rule(host, port)])
    const tunnels = await Promise.all([1, 2, 3].map(() => world.tunnel(host, port)))
    const asking = tunnels.map((socket) => sayAndRead(socket, request(host, port, '/')))
    const reasons = (await Promise.all(asking)).map((text) => /x-toolcrib-denied: (\w+)/.exec(text)?.[1])
    // What was sent to it is in doubt, what waited for its first word is not.
    expect(reasons.filter((reason) => reason === 'upstream_unreachable')).toHaveLength(2)
    expect(sockets.size).toBe(1)
    await expect.poll(() => [...sockets].every((socket) => socket.destroyed)).toBe(true)
  } finally {
    for (const socket of sockets) socket.destroy()
    silent.close()
  }
})

/**
 * On its first connection it says goodbye to whatever it is asked, begun with nothing of it; on others it answers.
 * `goodbye` is awaited before it is said.
 */
function startLeaving(world: World, reason: number, goodbye?: () => Promise<void>) {
  return startRawHttp2(world, async ({ socket, connection, stream }) => {
    await goodbye?.()
    const leave = frame(frameType.goaway, 0, 0, Buffer.from([0, 0, 0, 0, 0, 0, 0, reason]))
    const answer = frame(frameType.headers, 5, stream, headerBlock([[':status', '204']]))
    socket.write(connection === 0 ? leave : answer)
  })
}

test.each([constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_ENHANCE_YOUR_CALM])(
  'what a goodbye (%i) says was not begun is sent again if it has no body, and each time is recorded',
  async (reason) => {
    await using world = await makeWorld()
    using up = await startLeaving(world, reason)
    await world.setRules([rule(host, up.port)])
    const socket = await world.tunnel(host, up.port)
    expect(await sayAndRead(socket, request(host, up.port, '/'))).toMatch(/^HTTP\/1\.1 204 /)
    expect(up.asked).toEqual([1, 1])
    expect(await world.outcomes(2)).toMatchObject([
      { status: null, failure: 'upstream_refused' },
      { status: 204, failure: null },
    ])
  },
)

test('what was not begun is sent again with a short body, which a client by HTTP/1.1 cannot be told to do', async () => {
  await using world = await makeWorld()
  using up = await startLeaving(world, constants.NGHTTP2_NO_ERROR)
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  const answer = await sayAndRead(socket, request(host, up.port, '/', [], 'POST', 'short'))
  expect(answer).toMatch(/^HTTP\/1\.1 204 /)
  expect(up.asked).toEqual([1, 1])
  expect(await world.outcomes(2)).toMatchObject([
    { status: null, failure: 'upstream_refused' },
    { status: 204, failure: null },
  ])
})

test('what was not begun is sent once where its body is long', async () => {
  await using world = await makeWorld()
  using up = await startLeaving(world, constants.NGHTTP2_NO_ERROR)
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  const answer = await sayAndRead(socket, request(host, up.port, '/', [], 'POST', 'x'.repeat(66_000)))
  expect(answer).toMatch(/^HTTP\/1\.1 503 [^]*x-toolcrib-denied: upstream_refused/)
  expect(up.asked).toEqual([1])
})

test('what was not begun is not sent again once its rule is gone', async () => {
  // Neither a notice nor a look that comes by itself ends it before: it is the second decision that refuses.
  await using world = await makeWorld({ watchMs: 600_000 })
  using up = await startLeaving(world, constants.NGHTTP2_NO_ERROR, async () => {
    await world.setRulesUnheard([])
    // By then no look is new enough to decide by.
    await sleep(600)
  })
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  const answer = await sayAndRead(socket, request(host, up.port, '/'))
  expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*x-toolcrib-denied: host_not_allowed/)
  expect(up.asked).toEqual([1])
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_refused' })
  const [refused] = await world.events('egress.denied')
  expect(refused?.data).toMatchObject({ reason: 'host_not_allowed', host, method: 'GET', path: '/' })
})

test('what was not begun, and has a body that streams, is told by HTTP/2 as refused, recorded and sent once', async () => {
  await using world = await makeWorld()
  using up = await startLeaving(world, constants.NGHTTP2_NO_ERROR)
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const fields = Object.fromEntries(pseudoHeaders(host, up.port, 'POST'))
  const answer = await ask(client, fields, 'a')
  expect(answer).toMatchObject({ status: 0, code: constants.NGHTTP2_REFUSED_STREAM })
  expect(up.asked).toEqual([1])
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_refused' })
  // The tunnel goes on, and what is asked again goes elsewhere.
  expect(await ask(client, fields, 'a')).toMatchObject({ status: 204 })
  client.destroy()
})

test('a stream that is refused on a connection that goes on is told by HTTP/2 as that, recorded and sent once', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) =>
    stream.close(constants.NGHTTP2_REFUSED_STREAM),
  )
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const answer = await ask(client, Object.fromEntries(pseudoHeaders(host, up.port)))
  expect(answer).toMatchObject({ status: 0, code: constants.NGHTTP2_REFUSED_STREAM })
  expect(up.seen).toHaveLength(1)
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_refused' })
  client.destroy()
})

test('a client that was told to go on is told in words that its upstream did not begin', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) =>
    stream.close(constants.NGHTTP2_REFUSED_STREAM),
  )
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const fields = { ...Object.fromEntries(pseudoHeaders(host, up.port, 'POST')), expect: '100-continue' }
  const answer = await ask(client, fields, 'a')
  expect(answer).toMatchObject({ status: 503, headers: { 'x-toolcrib-denied': 'upstream_refused' } })
  client.destroy()
})

test.each([
  ['and more of it is to come', 200_000],
  ['to its last byte', 70_000],
])(
  'a request whose body waits for room, %s, is told at once that its upstream gave it up without an error',
  async (_, bytes) => {
    await using world = await makeWorld()
    using up = await startRawHttp2(world, ({ socket, stream }) => {
      const code = Buffer.from([0, 0, 0, constants.NGHTTP2_NO_ERROR])
      setTimeout(() => socket.write(frame(frameType.reset, 0, stream, code)), 100)
    })
    await world.setRules([rule(host, up.port, { methods: ['POST'] })])
    // More than an upstream has room for that never asks for more.
    const body = 'x'.repeat(bytes)
    const answer = await sayAndRead(
      await world.tunnel(host, up.port),
      request(host, up.port, '/', [], 'POST', body),
    )
    expect(answer).toMatch(/^HTTP\/1\.1 502 [^]*"reason":"upstream_failed"/)
    expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_failed' })
  },
  20_000,
)

import { once } from 'node:events'
import { type ClientHttp2Session, constants } from 'node:http2'
import { createServer as createTls, type TLSSocket } from 'node:tls'
import { queryObjects } from 'node:v8'
import { expect, test } from 'vitest'
import { host } from '../../support/armed.ts'
import { makeWorld, request, rule, sayAndRead, type World } from '../../support/egress-world.ts'
import {
  ask,
  frame,
  frameFlag,
  frameType,
  headerBlock,
  http2Client,
  preface,
  pseudoHeaders,
  readFrames,
  startHttp2Upstream,
} from '../../support/http2.ts'
import { byServerName, listenLocally } from '../../support/listening.ts'

/** Streams of HTTP/2 that one side does not read, leaves or breaks: what is kept of them, and whose fault it is. */

const byHttp2 = (world: World, port: number): Promise<TLSSocket> =>
  world.tunnel(host, port, { protocols: ['h2'] })
const fields = (port: number, method = 'GET', path = '/') =>
  Object.fromEntries(pseudoHeaders(host, port, method, path))

/** All that a client says to have one answer, whatever its size: nothing but the connection itself holds that up. */
function withRoom(port: number): Buffer {
  const window = Buffer.from([0x3f, 0xff, 0xff, 0xff])
  return Buffer.concat([
    preface,
    // SETTINGS_INITIAL_WINDOW_SIZE and a WINDOW_UPDATE.
    frame(frameType.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), window])),
    frame(frameType.windowUpdate, 0, 0, window),
    frame(
      frameType.headers,
      frameFlag.endHeaders | frameFlag.endStream,
      1,
      headerBlock(pseudoHeaders(host, port)),
    ),
  ])
}

test('row 38: an answer by HTTP/2 that nobody reads is let go with its client, and the connection idles out', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream, headers) => {
    stream.respond({ ':status': 200 })
    stream.end(Buffer.alloc(Number(headers[':path']?.slice(1)) * 1024, 'x'))
  })
  await world.setRules([rule(host, up.port)])
  // The last of it lies in the proxy, unread, when its client leaves; how much that is depends on every buffer between.
  const sizes = [300, 400, 500, 600, 700, 900, 1_100]
  for (const size of sizes) {
    const tunnel = await world.tunnel(host, up.port)
    tunnel.pause()
    tunnel.write(request(host, up.port, `/${size}`))
    await expect.poll(() => up.seen.some((seen) => seen[':path'] === `/${size}`)).toBe(true)
    await new Promise((resolve) => setTimeout(resolve, 300))
    tunnel.destroy()
  }
  await expect.poll(() => up.sessions.every(({ destroyed }) => destroyed), { timeout: 20_000 }).toBe(true)
  expect(up.sessions).not.toHaveLength(0)
})

test('row 38: an answer by HTTP/2 that waits for its client counts as a request of theirs until it has left', async () => {
  await using world = await makeWorld({ limits: { requestsPerPrincipal: 3 } })
  const up = await world.upstream((_req, res) => res.end(Buffer.alloc(10_000, 'x')))
  await world.setRules([rule(host, up.port)])
  const ask3 = (client: ClientHttp2Session) =>
    Array.from({ length: 3 }, () => client.request(fields(up.port)).on('error', () => undefined))
  const status = async () => (await ask(client, fields(up.port))).headers[':status']
  const unread = http2Client(await byHttp2(world, up.port))
  unread.settings({ initialWindowSize: 0 })
  await once(unread, 'localSettings')
  const client = http2Client(await byHttp2(world, up.port))
  for (const end of [constants.NGHTTP2_CANCEL, constants.NGHTTP2_NO_ERROR, undefined]) {
    const streams = ask3(unread)
    await Promise.all(streams.map((stream) => once(stream, 'response')))
    await world.outcome()
    expect(await status()).toBe(429)
    if (end === undefined) unread.settings({ initialWindowSize: 65_535 })
    for (const stream of streams) {
      if (end === undefined) stream.resume()
      else stream.close(end)
    }
    await expect.poll(status, { timeout: 10_000, message: String(end) }).toBe(200)
  }
  unread.destroy()
  client.destroy()
})

test('row 38: nothing more is sent to an upstream by HTTP/2 that answers whole and never reads', async () => {
  await using world = await makeWorld({ limits: { requestsPerPrincipal: 1 } })
  const context = await world.upstreamContext(host)
  let frames: ReturnType<typeof readFrames> = []
  const server = createTls({ ALPNProtocols: ['h2'], ...byServerName(async () => context) }, (socket) => {
    socket.on('error', () => undefined)
    // SETTINGS_INITIAL_WINDOW_SIZE of nothing: no byte of a body may be sent.
    socket.write(frame(frameType.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])))
    frames = readFrames(socket)
    const answered = new Set<number>()
    socket.on('data', () => {
      for (const { type, stream } of frames) {
        if (type !== frameType.headers || answered.has(stream)) continue
        answered.add(stream)
        socket.write(
          frame(frameType.headers, frameFlag.endHeaders, stream, headerBlock([[':status', '200']])),
        )
        socket.write(frame(frameType.data, frameFlag.endStream, stream, Buffer.from('done')))
      }
    })
  })
  const port = await listenLocally(server)
  try {
    await world.setRules([rule(host, port)])
    const tunnel = await world.tunnel(host, port)
    // Before its settings have come more might be sent.
    expect(await sayAndRead(tunnel, request(host, port, '/'))).toContain('done')
    for (let i = 1; i <= 2; i += 1) {
      expect(await sayAndRead(tunnel, request(host, port, '/', [], 'POST', 'body'))).toContain('done')
      const resets = () => frames.filter(({ type }) => type === frameType.reset)
      await expect.poll(() => resets().length, { timeout: 5_000 }).toBe(i)
    }
    expect(await world.outcome()).toMatchObject({ status: 200, failure: null })
  } finally {
    server.close()
  }
})

test.each(['/early', '/held'])(
  'row 25: uploads that are answered before they were read do not cost the connection: %s',
  async (path) => {
    await using world = await makeWorld({ limits: { bodyBytes: 1_000 } })
    const up = await world.upstream((_req, res) => res.end('ok'))
    const inject = [{ credential: 'ORDERS_KEY', into: 'body:/key' }]
    await world.setRules([
      rule(host, up.port, { paths: ['/held'], inject }),
      rule(host, up.port, { paths: ['/early'] }),
    ])
    const client = http2Client(await byHttp2(world, up.port))
    const body = 'x'.repeat(60_000)
    const statuses: number[] = []
    for (let i = 0; i < 130; i += 1) {
      const stream = client.request(
        { ...fields(up.port, 'POST', path), 'content-type': 'application/json' },
        { endStream: false },
      )
      stream.on('error', () => undefined)
      statuses.push(
        await new Promise((resolve) => {
          let status = 0
          stream.once('response', (headers) => (status = headers[':status'] ?? 0))
          stream.once('end', () => resolve(status))
          stream.once('close', () => resolve(status))
          stream.resume()
          stream.end(body)
        }),
      )
      // What is on its way shall arrive. Node's client keeps what it could not send.
      await new Promise((resolve) => setTimeout(resolve, 20))
      stream.destroy()
    }
    expect([...new Set(statuses)]).toEqual([path === '/early' ? 200 : 413])
    expect(client.destroyed).toBe(false)
  },
)

test('row 25: answers that their upstream breaks off are not resets of the client', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => {
    res.writeHead(200, { 'content-length': '100' })
    res.write('abc')
    setTimeout(() => res.socket?.destroy(), 5)
  })
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await byHttp2(world, up.port))
  for (let i = 0; i < 8; i += 1)
    await Promise.all(Array.from({ length: 20 }, () => ask(client, fields(up.port))))
  expect(client.destroyed).toBe(false)
  expect(up.seen).toHaveLength(160)
  const kinds = (await world.events('egress.allowed', 160)).map(({ kind }) => kind)
  expect(kinds).toHaveLength(160)
  expect(await world.events('egress.denied', 0)).toEqual([])
})

test('row 25: a client that says goodbye with an error of its own abuses nothing', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const failing = http2Client(await byHttp2(world, up.port))
  await ask(failing, fields(up.port))
  failing.goaway(constants.NGHTTP2_CANCEL)
  await new Promise((resolve) => setTimeout(resolve, 200))
  const other = http2Client(await byHttp2(world, up.port))
  expect((await ask(other, fields(up.port, 'DELETE'))).status).toBe(403)
  const denied = await world.events('egress.denied')
  expect(denied.map(({ data }) => data['method'])).toEqual(['DELETE'])
})

test('row 38: a client by HTTP/2 that reads nothing of its answer is let go', async () => {
  const limits = { idleTimeoutMs: 1_500, tunnelIdleTimeoutMs: 1_500 }
  await using world = await makeWorld({ limits })
  const answer = Buffer.alloc(32 * 1024 * 1024)
  const up = await world.upstream((_req, res) => {
    // Writing so much takes this process a while, on a busy machine a good part of a second.
    res.flushHeaders()
    setImmediate(() => res.end(answer))
  })
  await world.setRules([rule(host, up.port)])
  const deaf = await byHttp2(world, up.port)
  deaf.write(withRoom(up.port))
  expect(await world.outcome()).toMatchObject({ status: 200, failure: 'client_closed' })
  const closed = once(deaf, 'close')
  deaf.resume()
  await closed
})

test('row 38: a tunnel by HTTP/2 leaves nothing behind, however it ends', async () => {
  await using world = await makeWorld()
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end()
  })
  await world.setRules([rule(host, up.port)])
  const ends = [
    (_: ClientHttp2Session, secured: TLSSocket) => secured.end(),
    (_: ClientHttp2Session, secured: TLSSocket) => secured.destroy(),
    (client: ClientHttp2Session) => client.close(),
    (client: ClientHttp2Session) => client.destroy(undefined, constants.NGHTTP2_PROTOCOL_ERROR),
  ]
  for (let i = 0; i < 12; i += 1) {
    const secured = await byHttp2(world, up.port)
    const client = http2Client(secured)
    await ask(client, fields(up.port))
    ends[i % ends.length]?.(client, secured)
  }
  // The upstream's are held here; the proxy's own are of the same kind.
  const kind = up.sessions[0]?.constructor as new () => object
  const count = () => queryObjects(kind, { format: 'count' })
  await expect.poll(count, { interval: 300 }).toBe(up.sessions.length)
})

test('row 38: a client by HTTP/2 that dies while it sends is noticed, and not waited for until it idles', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end(Buffer.alloc(90_000)))
  await world.setRules([rule(host, up.port)])
  for (let i = 0; i < 5; i += 1) {
    const secured = await byHttp2(world, up.port)
    const stream = http2Client(secured).request(fields(up.port, 'POST'), { endStream: false })
    stream.on('error', () => undefined)
    stream.end(Buffer.alloc(140_000))
    setImmediate(() => secured.destroy())
  }
  const failures = async () => {
    const events = await world.events(undefined, 0)
    const outcomes = events.map(({ kind, data }) => (kind === 'egress.finished' ? data : data['outcome']))
    return outcomes.map((outcome) => (outcome as { failure?: unknown } | null)?.failure).filter(Boolean)
  }
  await expect.poll(failures, { timeout: 8_000 }).toEqual(Array(5).fill('client_closed'))
})

test('row 38: an upstream by HTTP/2 that dies while bytes go both ways is noticed, and not waited for until it idles', async () => {
  await using world = await makeWorld()
  const context = await world.upstreamContext(host)
  const answer = Buffer.concat([
    frame(frameType.headers, frameFlag.endHeaders, 1, headerBlock([[':status', '200']])),
    ...Array.from({ length: 14 }, () => frame(frameType.data, 0, 1, Buffer.alloc(16 * 1024))),
  ])
  const server = createTls({ ALPNProtocols: ['h2'], ...byServerName(async () => context) }, (socket) => {
    socket.on('error', () => undefined)
    socket.write(frame(frameType.settings, 0, 0))
    const frames = readFrames(socket)
    socket.on('data', () => {
      if (socket.isPaused() || !frames.some(({ type }) => type === frameType.data)) return
      socket.pause()
      socket.write(answer, () => socket.destroy())
    })
  })
  const port = await listenLocally(server)
  try {
    await world.setRules([rule(host, port)])
    const tunnel = await world.tunnel(host, port)
    tunnel.resume()
    tunnel.write(request(host, port, '/', ['Content-Length: 10000000'], 'POST'))
    const sending = setInterval(() => tunnel.write(Buffer.alloc(20_000)), 1)
    await new Promise((resolve) => tunnel.once('close', resolve))
    clearInterval(sending)
    expect(await world.outcome()).toMatchObject({ failure: 'upstream_failed' })
  } finally {
    server.close()
  }
})

test('row 38: a client by HTTP/2 that reads nothing for a while is not taken for one that died', async () => {
  await using world = await makeWorld()
  const size = 4 * 1024 * 1024
  const up = await world.upstream((_req, res) => res.end(Buffer.alloc(size)))
  await world.setRules([rule(host, up.port)])
  const secured = await byHttp2(world, up.port)
  const frames = readFrames(secured)
  secured.write(withRoom(up.port))
  await expect.poll(() => frames.some(({ type }) => type === frameType.headers)).toBe(true)
  secured.pause()
  await new Promise((resolve) => setTimeout(resolve, 3_500))
  secured.resume()
  const got = () =>
    frames.filter(({ type }) => type === frameType.data).reduce((sum, { payload }) => sum + payload.length, 0)
  await expect.poll(got, { timeout: 8_000 }).toBe(size)
})

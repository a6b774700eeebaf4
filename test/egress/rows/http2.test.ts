import { constants } from 'node:http2'
import { expect, test } from 'vitest'
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
  swelling,
} from '../../support/http2.ts'
import { makeRawWorld } from '../../support/raw-upstream.ts'

const host = 'orders.example.com'
const { endStream, endHeaders } = frameFlag

async function upstream(world: World) {
  const up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
  await world.setRules([rule(host, up.port)])
  return up
}

/** Speaks frames by hand on a tunnel; resolves with what came back by the time that the proxy has judged it. */
async function frames(world: World, port: number, ...bytes: Buffer[]) {
  const socket = await world.tunnel(host, port, { protocols: ['h2'] })
  const back = readFrames(socket)
  let closed = false
  socket.on('close', () => {
    closed = true
  })
  socket.write(Buffer.concat([preface, ...bytes]))
  return { back, isClosed: () => closed, socket }
}

const good = (port: number): [string, string][] => pseudoHeaders(host, port)

const bad: [string, (port: number) => [string, string][]][] = [
  ['repeated :path', (p) => [...good(p), [':path', '/admin']]],
  ['an unknown pseudo-header field', (p) => [...good(p), [':hidden', '1']]],
  ['a pseudo-header field after another field', (p) => [...good(p).slice(0, 3), ['x', '1'], [':path', '/']]],
  ['an upper-case name', (p) => [...good(p), ['X-Upper', '1']]],
  ['transfer-encoding', (p) => [...good(p), ['transfer-encoding', 'chunked']]],
  ['connection', (p) => [...good(p), ['connection', 'close']]],
  ['te that is not trailers', (p) => [...good(p), ['te', 'gzip']]],
  ['a line break in :path', (p) => [...good(p).slice(0, 3), [':path', '/ HTTP/1.1\r\nhost: evil']]],
  ['a line break in :method', (p) => [[':method', 'GET /admin HTTP/1.1\r\nx'], ...good(p).slice(1)]],
  [
    'a line break in :authority',
    (p) => [...good(p).slice(0, 2), [':authority', `${host}:${p}\r\nx: y`], [':path', '/']],
  ],
  ['no :authority', (p) => [...good(p).slice(0, 2), [':path', '/'], ['host', `${host}:${p}`]]],
  ['no :path', (p) => good(p).slice(0, 3)],
  ['http as its scheme', (p) => [good(p)[0] ?? ['', ''], [':scheme', 'http'], ...good(p).slice(2)]],
  ['another :authority', (p) => [...good(p).slice(0, 2), [':authority', 'evil.example.com'], [':path', '/']]],
  [
    'user information in :authority',
    (p) => [...good(p).slice(0, 2), [':authority', `evil@${host}:${p}`], [':path', '/']],
  ],
  ['a host beside :authority that differs', (p) => [...good(p), ['host', 'evil.example.com']]],
  [
    'an :authority of elsewhere beside a good host',
    (p) => [
      ...good(p).map(([name, value]): [string, string] =>
        name === ':authority' ? [name, 'evil.example.com'] : [name, value],
      ),
      ['host', `${host}:${p}`],
    ],
  ],
  ['two hosts', (p) => [...good(p), ['host', `${host}:${p}`], ['host', `${host}:${p}`]]],
  [
    'CONNECT',
    (p) => [
      [':method', 'CONNECT'],
      [':authority', `${host}:${p}`],
    ],
  ],
  ['a method override', (p) => [...good(p), ['x-http-method-override', 'DELETE']]],
  ['dot segments', (p) => [...good(p).slice(0, 3), [':path', '/a/../admin']]],
]

test.each(bad)('row 25: a request with %s reaches nothing', async (_, fields) => {
  await using world = await makeWorld()
  await using up = await upstream(world)
  const sent = frame(frameType.headers, endStream | endHeaders, 1, headerBlock(fields(up.port)))
  const { back, isClosed } = await frames(world, up.port, sent)
  const answer = () => back.find((one) => one.stream === 1)
  await expect.poll(() => isClosed() || answer() !== undefined).toBe(true)
  // Either our refusal, or a reset by the parser before there was a request.
  const refused = answer()?.type === frameType.headers
  expect([frameType.headers, frameType.reset, undefined]).toContain(answer()?.type)
  expect(await world.events('egress.denied', refused ? 1 : 0)).toHaveLength(refused ? 1 : 0)
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test.each(['GET', 'HEAD'])(
  'row 25: a %s with DATA, its length told or not, reaches nothing',
  async (method) => {
    await using world = await makeWorld()
    await using up = await upstream(world)
    const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
    const fields = Object.fromEntries(pseudoHeaders(host, up.port, method))
    expect(await ask(client, fields, 'body')).toMatchObject({ status: 400 })
    expect(await ask(client, { ...fields, 'content-length': 4 }, 'body')).toMatchObject({ status: 400 })
    const denied = await world.events('egress.denied', 2)
    expect(denied.map(({ data }) => data['reason'])).toEqual(['body_forbidden', 'body_forbidden'])
    expect(up.seen).toEqual([])
    client.destroy()
  },
)

test('row 25: a WebSocket over HTTP/2 is not offered, and whoever asks for one by :protocol has the stream reset, and after fifty the tunnel ended', async () => {
  await using world = await makeWorld()
  await using up = await upstream(world)
  const protocol: [string, string] = [':protocol', 'websocket']
  const connect: [string, string][] = [[':method', 'CONNECT'], ...good(up.port).slice(1)]
  const tries: [string, string][][] = [
    [...connect, protocol],
    [protocol, ...connect],
    [...connect, protocol, [':protocol', 'h2c']],
    [[':method', 'CONNECT'], [':authority', `${host}:${up.port}`], protocol],
    [...good(up.port), protocol],
    [...good(up.port), ['x', '1'], protocol],
    [...good(up.port), [':protocol', '']],
  ]
  const blocks = (lists: [string, string][][]) =>
    lists.map((fields, i) => frame(frameType.headers, endStream | endHeaders, 1 + 2 * i, headerBlock(fields)))
  const { back, isClosed } = await frames(world, up.port, ...blocks([...tries, good(up.port)]))
  const last = 1 + 2 * tries.length
  await expect.poll(() => back.some((one) => one.stream === last && one.type === frameType.data)).toBe(true)
  // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3) is 0, so that clients fall back to HTTP/1.1.
  expect(back.find((one) => one.type === frameType.settings)?.payload.includes('000800000000', 'hex')).toBe(
    true,
  )
  const answers = back.filter((one) => one.stream > 0 && one.stream < last)
  expect(answers.map((one) => [one.type, one.stream, one.payload.readUInt32BE(0)])).toEqual(
    tries.map((_, i) => [frameType.reset, 1 + 2 * i, constants.NGHTTP2_PROTOCOL_ERROR]),
  )
  expect([up.seen.length, isClosed()]).toEqual([1, false])
  const many = await frames(world, up.port, ...blocks(Array(60).fill([...connect, protocol])))
  await expect.poll(many.isClosed).toBe(true)
  const events = await world.events('egress.denied')
  expect(events.map((event) => event.data['reason'])).toEqual(['http2_abuse'])
  expect(up.seen).toHaveLength(1)
})

test('row 25: a field with a line break in its name or value is left out, never passed on', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const fields: [string, string][] = [
    ...good(up.port),
    ['x', 'a\r\nhost: evil.example.com'],
    ['y\r\nhost', 'evil.example.com'],
    ['z', 'a\0b'],
  ]
  const { back, isClosed } = await frames(
    world,
    up.port,
    frame(frameType.headers, endStream | endHeaders, 1, headerBlock(fields)),
  )
  await expect.poll(() => isClosed() || back.some((one) => one.stream === 1)).toBe(true)
  expect(JSON.stringify(up.seen)).not.toMatch(/evil|"x"|"y|"z"/)
})

test('row 25: a body longer or shorter than its content-length is refused by the proxy', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => {
    req.resume()
    req.on('end', () => res.end('whole'))
  })
  await world.setRules([rule(host, up.port)])
  for (const [length, body] of [
    ['3', 'abcGET /admin HTTP/1.1\r\n\r\n'],
    ['50', 'abc'],
  ] as const) {
    const fields: [string, string][] = [...good(up.port).slice(1), ['content-length', length]]
    const { back, isClosed } = await frames(
      world,
      up.port,
      frame(frameType.headers, endHeaders, 1, headerBlock([[':method', 'POST'], ...fields])),
      frame(frameType.data, endStream, 1, Buffer.from(body)),
    )
    await expect.poll(() => isClosed() || back.some((one) => one.type === frameType.reset)).toBe(true)
    expect(back.filter((one) => one.type === frameType.data)).toEqual([])
  }
  expect(up.seen.every((seen) => seen.url === '/' && !seen.body.includes('GET'))).toBe(true)
})

test('row 25: Rapid Reset closes the tunnel, is recorded once, and reaches the upstream hardly at all', async () => {
  await using world = await makeWorld()
  await using up = await upstream(world)
  const cancel = Buffer.from([0, 0, 0, 8])
  const flood: Buffer[] = []
  for (let id = 1; id < 1_000; id += 2) {
    flood.push(frame(frameType.headers, endStream | endHeaders, id, headerBlock(good(up.port))))
    flood.push(frame(frameType.reset, 0, id, cancel))
  }
  const { isClosed } = await frames(world, up.port, ...flood)
  await expect.poll(isClosed).toBe(true)
  const events = await world.events('egress.denied')
  expect(events.map((event) => event.data['reason'])).toEqual(['http2_abuse'])
  expect(up.seen.length).toBeLessThan(150)
  // Nobody else is kept from anything.
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  expect((await ask(client, Object.fromEntries(good(up.port)))).body).toBe('ok')
  client.destroy()
})

test('row 25: endless CONTINUATION frames and header lists beyond the limit close the stream or the tunnel', async () => {
  await using world = await makeWorld()
  await using up = await upstream(world)
  const more = Array.from({ length: 400 }, (_, i) =>
    frame(frameType.continuation, 0, 1, headerBlock([[`x-${i}`, 'a'.repeat(1_000)]])),
  )
  const { isClosed } = await frames(
    world,
    up.port,
    frame(frameType.headers, endStream, 1, headerBlock(good(up.port))),
    ...more,
  )
  await expect.poll(isClosed).toBe(true)
  const wide: [string, string][] = Array.from({ length: 60 }, (_, i) => [`x-${i}`, 'a'.repeat(1_000)])
  const parts = [frame(frameType.headers, endStream, 1, headerBlock(good(up.port)))]
  for (let i = 0; i < wide.length; i += 12) {
    parts.push(
      frame(
        frameType.continuation,
        i + 12 >= wide.length ? endHeaders : 0,
        1,
        headerBlock(wide.slice(i, i + 12)),
      ),
    )
  }
  const second = await frames(world, up.port, ...parts)
  await expect
    .poll(() => second.isClosed() || second.back.some((one) => one.type === frameType.reset))
    .toBe(true)
  expect(up.seen).toEqual([])
})

test('row 25: trailers beyond the limit of a head reset their stream, whatever few bytes stand for them', async () => {
  await using world = await makeWorld()
  const trailers: unknown[] = []
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.on('trailers', (fields) => trailers.push(fields))
    stream.on('error', () => undefined)
    stream.resume()
  })
  await world.setRules([rule(host, up.port, { methods: ['POST'] })])
  const { back } = await frames(
    world,
    up.port,
    frame(frameType.headers, endHeaders, 1, headerBlock(pseudoHeaders(host, up.port, 'POST'))),
    frame(frameType.data, 0, 1, Buffer.from('a body')),
    frame(frameType.headers, endHeaders | endStream, 1, swelling),
  )
  await expect.poll(() => back.some((one) => one.type === frameType.reset)).toBe(true)
  await expect.poll(async () => (await world.outcome())['failure']).toBe('client_closed')
  expect(trailers).toEqual([])
})

test('row 25: a flood of PING or of SETTINGS, read or not, closes the tunnel and is recorded once', async () => {
  await using world = await makeWorld()
  await using up = await upstream(world)
  const ping = frame(frameType.ping, 0, 0, Buffer.alloc(8))
  const settings = frame(frameType.settings, 0, 0)
  const floods = [ping, settings].map((one) => Buffer.concat(Array<Buffer>(20_000).fill(one)))
  for (const [index, flood] of floods.entries()) {
    const { back, isClosed } = await frames(world, up.port, flood)
    await expect.poll(isClosed).toBe(true)
    // It was not answered to the end: what is owed to a client is bounded.
    expect(back.length).toBeLessThan(2_000)
    const deaf = await world.tunnel(host, up.port, { protocols: ['h2'] })
    deaf.pause()
    deaf.write(Buffer.concat([preface, flood]))
    const events = await world.events('egress.denied', 2 * (index + 1))
    expect(events.map((event) => event.data['reason'])).toEqual(Array(2 * (index + 1)).fill('http2_abuse'))
  }
  expect(up.seen).toEqual([])
  // A client may ask whether anybody is there.
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  await new Promise<void>((resolve, reject) => {
    client.ping((error) => (error === null ? resolve() : reject(error)))
  })
  expect((await ask(client, Object.fromEntries(good(up.port)))).body).toBe('ok')
  client.destroy()
})

test('row 25: PINGs of which each is answered before the next ones come are a flood too, where they do not end', async () => {
  await using world = await makeWorld()
  await using up = await upstream(world)
  const { back, isClosed, socket } = await frames(world, up.port)
  const pings = Buffer.concat(Array<Buffer>(50).fill(frame(frameType.ping, 0, 0, Buffer.alloc(8))))
  const answers = () => back.filter(({ type }) => type === frameType.ping).length
  let asked = 0
  while (!isClosed() && asked < 2_000) {
    socket.write(pings)
    asked += 50
    await expect.poll(() => isClosed() || answers() === asked, { interval: 1 }).toBe(true)
  }
  // Five hundred at once, and fifty a second.
  expect(asked).toBeGreaterThan(450)
  expect(isClosed()).toBe(true)
  const events = await world.events('egress.denied', 1)
  expect(events.map(({ data }) => data['reason'])).toEqual(['http2_abuse'])
})

test('row 25: of more streams than were granted none is begun, and who goes on asking loses the tunnel', async () => {
  await using world = await makeWorld({ limits: { requestsPerPrincipal: 5 } })
  await using up = await startHttp2Upstream(world.upstreamContext, () => undefined)
  await world.setRules([rule(host, up.port)])
  const streams = (count: number) =>
    Array.from({ length: count }, (_, i) =>
      frame(frameType.headers, endStream | endHeaders, 1 + 2 * i, headerBlock(good(up.port))),
    )
  const many = await frames(world, up.port, ...streams(30))
  const resets = () => many.back.filter((one) => one.type === frameType.reset)
  await expect.poll(() => resets().length).toBe(25)
  // REFUSED_STREAM: nothing came of it, the client may ask again.
  expect(new Set(resets().map((one) => one.payload.readUInt32BE(0)))).toEqual(new Set([7]))
  expect(resets().every((one) => one.stream > 9)).toBe(true)
  await expect.poll(() => up.seen.length).toBe(5)
  expect(many.isClosed()).toBe(false)
  many.socket.destroy()
  expect((await world.outcome())['failure']).toBe('client_closed')
  const more = await frames(world, up.port, ...streams(100))
  await expect.poll(more.isClosed).toBe(true)
  const events = await world.events('egress.denied')
  expect(events.map((event) => event.data['reason'])).toContain('http2_abuse')
  expect(up.seen.length).toBeLessThanOrEqual(10)
})

test.each([99, 600, 999])(
  'row 19: the status %i, which HTTP does not have, is refused to clients of either version and recorded',
  async (status) => {
    await using raw = await makeRawWorld()
    const { world } = raw
    const up = await raw.start((socket) => {
      const code = String(status).padStart(3, '0')
      socket.end(`HTTP/1.1 ${code} Odd\r\nContent-Length: 4\r\nX-Odd: 1\r\n\r\nbody`)
    })
    await world.setRules([rule(host, up.port)])
    const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
    const byHttp2 = await ask(client, Object.fromEntries(good(up.port)))
    expect(byHttp2).toMatchObject({ status: 502, headers: { 'x-toolcrib-denied': 'answer_status' }, code: 0 })
    expect(byHttp2.headers['x-odd']).toBeUndefined()
    expect(await world.outcome()).toMatchObject({ status, failure: 'answer_status' })
    client.destroy()
    const byHttp1 = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))
    expect(byHttp1).toMatch(/^HTTP\/1\.1 502 [^]*x-toolcrib-denied: answer_status/)
    expect(byHttp1).toContain(byHttp2.body)
    await world.events('egress.allowed', 2)
    expect(await world.outcome()).toMatchObject({ status, failure: 'answer_status' })
  },
)

test('row 19: a head of very many short fields goes out by HTTP/2 too, and is refused at most by who gets it', async () => {
  await using world = await makeWorld()
  const many = Array<string>(8_000).fill('a: b')
  const one = await world.upstream((_req, res) => {
    res.writeHead(
      200,
      many.flatMap((line) => line.split(': ')),
    )
    res.end('body')
  })
  await using two = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  })
  await world.setRules([rule(host, one.port), rule(host, two.port)])
  const { back, socket } = await frames(
    world,
    one.port,
    frame(frameType.headers, endStream | endHeaders, 1, headerBlock(good(one.port))),
  )
  await expect.poll(() => back.some((frame) => frame.type === frameType.data)).toBe(true)
  expect(back.find((frame) => frame.type === frameType.headers)?.payload.length).toBeGreaterThan(many.length)
  socket.destroy()
  // Node's server takes 128 fields and no more, and says so by a reset of that stream alone.
  const asked = request(host, two.port, '/', many)
  expect(await sayAndRead(await world.tunnel(host, two.port), asked)).toContain('upstream_failed')
  expect(await sayAndRead(await world.tunnel(host, two.port), request(host, two.port, '/'))).toContain(
    '200 OK',
  )
})

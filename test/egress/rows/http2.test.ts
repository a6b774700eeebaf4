import { expect, test } from 'vitest'
import { makeWorld, rule, type World } from '../../support/egress-world.ts'
import {
  ask,
  frame,
  frameType,
  headerBlock,
  http2Client,
  preface,
  readFrames,
  startHttp2Upstream,
} from '../../support/http2.ts'

const host = 'orders.example.com'
const endStream = 1
const endHeaders = 4

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

const good = (port: number): [string, string][] => [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', `${host}:${port}`],
  [':path', '/'],
]

const bad: [string, (port: number) => [string, string][]][] = [
  ['repeated :path', (p) => [...good(p), [':path', '/admin']]],
  ['an unknown pseudo-header field', (p) => [...good(p), [':hidden', '1']]],
  ['a pseudo-header field after another field', (p) => [...good(p).slice(0, 3), ['x', '1'], [':path', '/']]],
  ['an upper-case name', (p) => [...good(p), ['X-Upper', '1']]],
  ['transfer-encoding', (p) => [...good(p), ['transfer-encoding', 'chunked']]],
  ['connection', (p) => [...good(p), ['connection', 'close']]],
  ['te that is not trailers', (p) => [...good(p), ['te', 'gzip']]],
  ['a line break in :path', (p) => [...good(p).slice(0, 3), [':path', '/ HTTP/1.1\r\nhost: evil']]],
  ['no :path', (p) => good(p).slice(0, 3)],
  ['http as its scheme', (p) => [good(p)[0] ?? ['', ''], [':scheme', 'http'], ...good(p).slice(2)]],
  ['another :authority', (p) => [...good(p).slice(0, 2), [':authority', 'evil.example.com'], [':path', '/']]],
  [
    'user information in :authority',
    (p) => [...good(p).slice(0, 2), [':authority', `evil@${host}:${p}`], [':path', '/']],
  ],
  ['a host beside :authority that differs', (p) => [...good(p), ['host', 'evil.example.com']]],
  ['two hosts', (p) => [...good(p), ['host', `${host}:${p}`], ['host', `${host}:${p}`]]],
  [
    'CONNECT',
    (p) => [
      [':method', 'CONNECT'],
      [':authority', `${host}:${p}`],
    ],
  ],
  [
    'extended CONNECT (RFC 8441)',
    (p) => [[':method', 'CONNECT'], [':protocol', 'websocket'], ...good(p).slice(1)],
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

test('row 25: floods of PING and SETTINGS, and more streams than were granted, end in an error of the session', async () => {
  await using world = await makeWorld({ limits: { requestsPerPrincipal: 5 } })
  const up = await startHttp2Upstream(world.upstreamContext, () => undefined)
  await using _up = up
  await world.setRules([rule(host, up.port)])
  const streams = Array.from({ length: 30 }, (_, i) =>
    frame(frameType.headers, endStream | endHeaders, 1 + 2 * i, headerBlock(good(up.port))),
  )
  const many = await frames(world, up.port, ...streams)
  await expect.poll(() => many.isClosed() || many.back.some((one) => one.type === frameType.reset)).toBe(true)
  expect(up.seen.length).toBeLessThanOrEqual(5)
  many.socket.destroy()
})

test('row 17: an upgrade to h2c and HTTP/2 with prior knowledge on HTTP/1.1 are refused', async () => {
  await using world = await makeWorld()
  await using up = await upstream(world)
  const socket = await world.tunnel(host, up.port)
  let got = ''
  socket.on('data', (chunk: Buffer) => {
    got += chunk.toString('latin1')
  })
  socket.write(preface)
  await expect.poll(() => got).toContain('400 Bad Request')
  expect(up.seen).toEqual([])
})

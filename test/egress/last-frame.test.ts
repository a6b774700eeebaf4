/** How a request's body ends by HTTP/2: an empty frame behind it is what Tomcat counts as an attack. */
import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import {
  answered,
  frame,
  frameFlag,
  frameType,
  headerBlock,
  http2Client,
  preface,
  pseudoHeaders,
  readFrames,
  startHttp2Upstream,
} from '../support/http2.ts'
import { startRawHttp2 } from '../support/raw-http2.ts'
import { until } from '../support/until.ts'

const host = 'orders.example.com'

/** An upstream that answers what has ended, and the DATA frames of each request: how long, and whether it is the last. */
async function listening() {
  const world = await makeWorld()
  const bodies: [length: number, isLast: boolean][][] = []
  const up = await startRawHttp2(world, async ({ socket, connection, stream }) => {
    const body = () =>
      up
        .frames(connection)
        .filter((each) => each.type === frameType.data && each.stream === stream)
        .map(
          ({ flags, payload }) => [payload.length, (flags & frameFlag.endStream) !== 0] as [number, boolean],
        )
    await until(() => body().some(([, isLast]) => isLast))
    bodies.push(body())
    const head = headerBlock([[':status', '200']])
    socket.write(frame(frameType.headers, frameFlag.endHeaders | frameFlag.endStream, stream, head))
  })
  await world.setRules([rule(host, up.port)])
  return {
    world,
    up,
    bodies,
    async [Symbol.asyncDispose]() {
      up[Symbol.dispose]()
      await world[Symbol.asyncDispose]()
    },
  }
}

test('a short body of a stated length is one frame, and the last, by HTTP/1.1', async () => {
  await using made = await listening()
  const { world, up, bodies } = made
  const socket = await world.tunnel(host, up.port)
  expect(
    await sayAndRead(socket, request(host, up.port, '/', ['Connection: close'], 'POST', 'hello')),
  ).toMatch(/^HTTP\/1\.1 200/)
  expect(bodies).toEqual([[[5, true]]])
})

test('and by HTTP/2', async () => {
  await using made = await listening()
  const { world, up, bodies } = made
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const head = Object.fromEntries(pseudoHeaders(host, up.port, 'POST'))
  const stream = client.request({ ...head, 'content-length': '5' })
  stream.end('hello')
  expect(await answered(stream)).toMatchObject({ status: 200 })
  expect(bodies).toEqual([[[5, true]]])
  client.destroy()
})

test('announced trailers come behind it all the same', async () => {
  await using world = await makeWorld()
  const trailers: unknown[] = []
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.on('trailers', (fields) => trailers.push(fields['x-checksum']))
    stream.resume()
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      stream.end()
    })
  })
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const fields = { ...Object.fromEntries(pseudoHeaders(host, up.port, 'POST')), 'content-length': '5' }
  const stream = client.request({ ...fields, trailer: 'x-checksum' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': 'kept' }))
  stream.end('hello')
  expect(await answered(stream)).toMatchObject({ status: 200 })
  expect(trailers).toEqual(['kept'])
  client.destroy()
})

test.each([
  ['less than its length', 'hello'],
  ['nothing of its length', ''],
])('a body of %s is not ended at the upstream', async (_, body) => {
  await using world = await makeWorld()
  using up = await startRawHttp2(world, () => undefined)
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port, { protocols: ['h2'] })
  const back = readFrames(socket)
  const head = headerBlock([...pseudoHeaders(host, up.port, 'POST'), ['content-length', '6']])
  socket.write(preface)
  const streams = Array.from({ length: 20 }, (_each, n) => 2 * n + 1)
  for (const stream of streams) {
    socket.write(
      Buffer.concat([
        frame(frameType.headers, frameFlag.endHeaders, stream, head),
        frame(frameType.data, frameFlag.endStream, stream, Buffer.from(body)),
      ]),
    )
    await expect
      .poll(() => back.some((each) => each.type === frameType.reset && each.stream === stream))
      .toBe(true)
    await world.outcome()
  }
  const ended = up
    .frames(0)
    .filter(({ type, flags }) => type === frameType.data && (flags & frameFlag.endStream) !== 0)
  expect(ended).toEqual([])
})

test.each(['http/1.1', 'h2'])(
  'a body that its client by %s gives up is not ended at the upstream',
  async (protocol) => {
    await using world = await makeWorld()
    using up = await startRawHttp2(world, () => undefined)
    await world.setRules([rule(host, up.port)])
    const socket = await world.tunnel(host, up.port, { protocols: [protocol] })
    if (protocol === 'h2') {
      const head = headerBlock([...pseudoHeaders(host, up.port, 'POST'), ['content-length', '6000']])
      socket.write(Buffer.concat([preface, frame(frameType.headers, frameFlag.endHeaders, 1, head)]))
      socket.write(frame(frameType.data, 0, 1, Buffer.from('hello')))
    } else socket.write(request(host, up.port, '/', ['Content-Length: 6000'], 'POST') + 'hello')
    const came = (type: number) => up.frames(0).filter((each) => each.type === type)
    await expect.poll(() => came(frameType.data).length).toBe(1)
    if (protocol === 'h2') socket.write(frame(frameType.reset, 0, 1, Buffer.from([0, 0, 0, 8])))
    else socket.destroy()
    await expect.poll(() => came(frameType.reset).length).toBe(1)
    expect(came(frameType.data).filter(({ flags }) => (flags & frameFlag.endStream) !== 0)).toEqual([])
  },
)

import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead, type World } from '../../support/egress-world.ts'
import { frame, frameFlag, frameType, headerBlock, swelling } from '../../support/http2.ts'
import { type RawRequest, startRawHttp2 } from '../../support/raw-http2.ts'

/** Upstreams that break the rules of HTTP/2: what becomes of the request that they break, and of those beside it. */

const host = 'orders.example.com'

const number32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
/** The highest stream that there may be. */
const most = 2 ** 31 - 1
const goodbye = (last: number) =>
  frame(frameType.goaway, 0, 0, Buffer.concat([number32(last), Buffer.alloc(4)]))
const notFrames = Buffer.from('HTTP/1.1 200 OK\r\n\r\n')
const whole = (stream: number) =>
  Buffer.concat([
    frame(frameType.headers, frameFlag.endHeaders, stream, headerBlock([[':status', '200']])),
    frame(frameType.data, frameFlag.endStream, stream, Buffer.from('whole')),
  ])

/** What came of one request, in a word. */
async function ask(world: World, port: number, at = host): Promise<string> {
  const socket = await world.tunnel(at, port)
  const text = await sayAndRead(socket, request(at, port, '/'))
  socket.destroy()
  return /x-toolcrib-denied: (\w+)/.exec(text)?.[1] ?? (text.includes('whole') ? 'whole' : 'cut')
}

/** Gives back the requests of a connection once there are so many. */
function gather(count: number) {
  const { promise, resolve } = Promise.withResolvers<RawRequest[]>()
  const requests: RawRequest[] = []
  return {
    requests: promise,
    tell: (one: RawRequest) => {
      if (requests.push(one) === count) resolve(requests)
    },
  }
}

test.each([
  ['a goodbye', (_: World, socket: RawRequest['socket']) => void socket.write(goodbye(most))],
  ['a change of rules', (world: World, socket: RawRequest['socket']) => changeRules(world, socket.localPort)],
])('row 19: what is under way behind %s ends when its upstream says what is no frame', async (_, leave) => {
  await using world = await makeWorld({ limits: { idleTimeoutMs: 5_000 } })
  const { requests, tell } = gather(2)
  using up = await startRawHttp2(world, tell)
  await world.setRules([rule(host, up.port)])
  const asking = [ask(world, up.port), ask(world, up.port)]
  const [first] = await requests
  await leave(world, first!.socket)
  first?.socket.write(notFrames)
  expect(await Promise.all(asking)).toEqual(['upstream_failed', 'upstream_failed'])
  await expect.poll(() => up.sockets[0]?.destroyed).toBe(true)
})

async function changeRules(world: World, port: number | undefined): Promise<void> {
  await world.setRules([rule(host, port ?? 0)])
}

test('row 19: what is under way behind a goodbye is answered, and its connection closed behind the last of it', async () => {
  await using world = await makeWorld()
  const { requests, tell } = gather(2)
  using up = await startRawHttp2(world, ({ socket, connection, stream }) =>
    connection === 0 ? tell({ socket, connection, stream }) : void socket.write(whole(stream)),
  )
  await world.setRules([rule(host, up.port)])
  const asking = [ask(world, up.port), ask(world, up.port)]
  const [first, second] = await requests
  first?.socket.write(goodbye(most))
  expect(await ask(world, up.port)).toBe('whole')
  expect(up.asked).toEqual([2, 1])
  first?.socket.write(whole(first.stream))
  expect(await Promise.race(asking)).toBe('whole')
  expect(up.sockets[0]?.destroyed).toBe(false)
  second?.socket.write(whole(second.stream))
  expect(await Promise.all(asking)).toEqual(['whole', 'whole'])
  await expect.poll(() => up.sockets[0]?.destroyed).toBe(true)
})

const headers = (stream: number, block: Buffer, flags = 0) =>
  frame(frameType.headers, frameFlag.endHeaders | flags, stream, block)
const ok = headerBlock([[':status', '200']])

test.each([
  ['a head', 'upstream_failed', (stream: number) => headers(stream, Buffer.concat([ok, swelling]), 1)],
  [
    'an interim head',
    'upstream_failed',
    (stream: number) =>
      Buffer.concat([
        headers(stream, Buffer.concat([headerBlock([[':status', '103']]), swelling])),
        whole(stream),
      ]),
  ],
  [
    'trailers',
    'cut',
    (stream: number) =>
      Buffer.concat([
        headers(stream, ok),
        frame(frameType.data, 0, stream, Buffer.from('who')),
        headers(stream, swelling, frameFlag.endStream),
      ]),
  ],
])(
  'row 19: %s by HTTP/2 beyond the bytes of a head, out of a few on the wire, come to nothing',
  async (_, come, answer) => {
    await using world = await makeWorld()
    using up = await startRawHttp2(
      world,
      ({ socket, stream }) => void socket.write(stream === 1 ? answer(stream) : whole(stream)),
    )
    await world.setRules([rule(host, up.port)])
    expect(await ask(world, up.port)).toBe(come)
    expect(await world.outcome()).toMatchObject({ failure: 'upstream_failed' })
    expect(await ask(world, up.port)).toBe('whole')
    expect(up.asked).toEqual([2])
  },
)

test('row 19: once an answer has broken the connection of others, the next one like it breaks its own alone', async () => {
  await using world = await makeWorld()
  let { requests, tell } = gather(2)
  using up = await startRawHttp2(world, (one) => tell(one))
  await world.setRules([rule(host, up.port)])
  const askTwo = async () => {
    const asking = [ask(world, up.port), ask(world, up.port)]
    const [first, second] = await requests
    // Node takes an answer beyond its length for the end of all of its connection.
    const length: [string, string][] = [
      [':status', '200'],
      ['content-length', '3'],
    ]
    first?.socket.write(headers(first.stream, headerBlock(length)))
    first?.socket.write(frame(frameType.data, frameFlag.endStream, first.stream, Buffer.from('more')))
    await Promise.race(asking)
    second?.socket.write(whole(second.stream))
    return (await Promise.all(asking)).toSorted()
  }
  expect(await askTwo()).toEqual(['cut', 'upstream_failed'])
  expect(up.asked).toEqual([2])
  ;({ requests, tell } = gather(2))
  expect(await askTwo()).toEqual(['cut', 'whole'])
  expect(up.asked).toEqual([2, 1, 1])
})

const setting = (id: number, value: number) =>
  frame(frameType.settings, 0, 0, Buffer.concat([Buffer.from([0, id]), number32(value)]))
const promise = (stream: number) =>
  frame(5, frameFlag.endHeaders, stream, Buffer.concat([number32(2), headerBlock([[':method', 'GET']])]))
/** What an upstream says in place of an answer, what comes of that request, and of another on its connection. */
const breaches: Record<string, [string, string, (stream: number) => Buffer[]]> = {
  'no more streams': ['whole', 'whole', (stream) => [setting(3, 0), whole(stream)]],
  'a promise': ['whole', 'whole', (stream) => [promise(stream), whole(stream)]],
  'interim answers, as many as may be': [
    'whole',
    'whole',
    (stream) => [...Array(16).fill(headers(stream, headerBlock([[':status', '103']]))), whole(stream)],
  ],
  'too many interim answers': [
    'upstream_failed',
    'whole',
    (stream) => [...Array(17).fill(headers(stream, headerBlock([[':status', '100']]))), whole(stream)],
  ],
  'a head without a status': [
    'upstream_failed',
    'whole',
    (stream) => [headers(stream, headerBlock([['x-a', '1']]), frameFlag.endStream)],
  ],
  'trailers with a status': [
    'cut',
    'whole',
    (stream) => [
      headers(stream, ok),
      frame(frameType.data, 0, stream, Buffer.from('who')),
      headers(stream, ok, frameFlag.endStream),
    ],
  ],
  'a body without a head': broken((stream) => [frame(frameType.data, 0, stream, Buffer.from('whole'))]),
  'a head that does not end': broken((stream) => [
    frame(frameType.headers, 0, stream, ok),
    ...Array(100).fill(frame(frameType.continuation, 0, stream, headerBlock([['x-a', '1']]))),
  ]),
  'a window that overflows': broken(() => [frame(frameType.windowUpdate, 0, 0, number32(most))]),
  'a window that overflows, of a stream': broken((stream) => [
    frame(frameType.windowUpdate, 0, stream, number32(most)),
  ]),
  'a reset of what nobody asked for': broken(() => [frame(frameType.reset, 0, 99, number32(8))]),
  'an answer that nobody asked for': broken(() => [headers(2, ok, frameFlag.endStream)]),
  'a goodbye that takes back another': broken((stream) => [
    goodbye(stream + 2),
    goodbye(most),
    whole(stream),
  ]),
  'a flood of pings': broken(() => Array(20_000).fill(frame(frameType.ping, 0, 0, Buffer.alloc(8)))),
  'a flood of settings': broken(() => Array(20_000).fill(frame(frameType.settings, 0, 0))),
}

function broken(says: (stream: number) => Buffer[]): [string, string, (stream: number) => Buffer[]] {
  return ['upstream_failed', 'upstream_failed', says]
}

test.each(Object.entries(breaches))(
  'row 19: %s by HTTP/2 ends what it breaks, at once',
  async (_, breach) => {
    const [come, beside, says] = breach
    await using world = await makeWorld()
    const { requests, tell } = gather(2)
    using up = await startRawHttp2(world, tell)
    await world.setRules([rule(host, up.port)])
    const asking = [ask(world, up.port), ask(world, up.port)]
    const [first, second] = await requests
    first?.socket.write(Buffer.concat(says(first.stream)))
    await Promise.race(asking)
    second?.socket.write(whole(second.stream))
    expect((await Promise.all(asking)).toSorted()).toEqual([come, beside].toSorted())
  },
)

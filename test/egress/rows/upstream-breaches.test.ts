import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead, type World } from '../../support/egress-world.ts'
import { frame, frameFlag, frameType, headerBlock } from '../../support/http2.ts'
import { type RawRequest, startRawHttp2 } from '../../support/raw-http2.ts'

/** Upstreams that break the rules of HTTP/2: what becomes of the request that they break, and of those beside it. */

const host = 'orders.example.com'

const number32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const goodbye = frame(frameType.goaway, 0, 0, Buffer.concat([number32(2 ** 31 - 1), Buffer.alloc(4)]))
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
  ['a goodbye', (_: World, socket: RawRequest['socket']) => void socket.write(goodbye)],
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
  first?.socket.write(goodbye)
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

/** A field of 4,000 bytes, and the one byte that stands for it a hundred times more (RFC 7541 sections 6.2.1 and 6.1). */
const swelling = Buffer.concat([
  Buffer.from([0x40, 3]),
  Buffer.from('x-a'),
  Buffer.from([127, 0xa1, 30]),
  Buffer.alloc(4_000, 'y'),
  Buffer.alloc(100, 0x80 | 62),
])

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

import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead, type World } from '../support/egress-world.ts'
import { frame, frameFlag, frameType, headerBlock } from '../support/http2.ts'
import { type RawRequest, startRawHttp2 } from '../support/raw-http2.ts'

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
])('what is under way behind %s ends when its upstream says what is no frame', async (_, leave) => {
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

test('what is under way behind a goodbye is answered, and its connection closed behind the last of it', async () => {
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

import { constants } from 'node:http2'
import type { Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { makeWorld, request, rule, sayAndRead, type World } from '../support/egress-world.ts'
import { frame, frameType, headerBlock } from '../support/http2.ts'
import { startRawHttp2 } from '../support/raw-http2.ts'

const host = 'orders.example.com'

/** A world that tells of the proxy's own ends of its connections to upstreams. */
async function makeDialled() {
  const dialled: Socket[] = []
  const world = await makeWorld({
    dial: async (to) => {
      const socket = await systemDial(to)
      dialled.push(socket)
      return socket
    },
  })
  return { world, dialled }
}

/** Answers by HTTP/2, says goodbye with it where it is to, and never closes its end of a connection. */
const startHolding = (world: World, { saysGoodbye }: { saysGoodbye: boolean }) =>
  startRawHttp2(
    world,
    ({ socket, stream }) => {
      socket.write(frame(frameType.headers, 5, stream, headerBlock([[':status', '204']])))
      const last = Buffer.from([0, 0, 0, stream, 0, 0, 0, constants.NGHTTP2_NO_ERROR])
      if (saysGoodbye) socket.write(frame(frameType.goaway, 0, 0, last))
    },
    { keepsOpen: true },
  )

test.each([
  ['after its goodbye', true],
  ['after it has idled', false],
])(
  'an upstream by HTTP/2 that never closes its end of a connection keeps none of ours: %s',
  async (_, saysGoodbye) => {
    const { world, dialled } = await makeDialled()
    await using _world = world
    using up = await startHolding(world, { saysGoodbye })
    await world.setRules([rule(host, up.port)])
    expect(await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))).toContain(
      ' 204 ',
    )
    await expect.poll(() => dialled[0]?.destroyed, { timeout: 10_000 }).toBe(true)
    expect(up.sockets[0]?.destroyed).toBe(false)
  },
)

test('a proxy that stops waits for no upstream to close its end of a connection by HTTP/2', async () => {
  const { world, dialled } = await makeDialled()
  await using _world = world
  using up = await startHolding(world, { saysGoodbye: true })
  await world.setRules([rule(host, up.port)])
  const proxy = await world.replica()
  const tunnel = await world.tunnel(host, up.port, { egress: proxy })
  expect(await sayAndRead(tunnel, request(host, up.port, '/'))).toContain(' 204 ')
  await expect.poll(() => up.sockets[0]?.readableEnded).toBe(true)
  await proxy[Symbol.asyncDispose]()
  expect(dialled[0]?.destroyed).toBe(true)
})

test('a goodbye that an upstream says again and again is taken once', async () => {
  await using world = await makeWorld()
  using up = await startRawHttp2(world, ({ socket, stream }) => {
    const last = Buffer.from([0, 0, 0, stream, 0, 0, 0, constants.NGHTTP2_NO_ERROR])
    const goodbye = frame(frameType.goaway, 0, 0, last)
    socket.write(frame(frameType.headers, 5, stream, headerBlock([[':status', '204']])))
    // Heard together, before anything that the first one has done can be seen.
    setTimeout(() => socket.write(Buffer.concat(Array.from({ length: 50 }, () => goodbye))), 20)
  })
  await world.setRules([rule(host, up.port)])
  const warnings: Error[] = []
  const warned = (warning: Error) => void warnings.push(warning)
  process.on('warning', warned)
  onTestFinished(() => void process.off('warning', warned))
  expect(await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))).toContain(' 204 ')
  await expect.poll(() => up.sockets[0]?.destroyed, { timeout: 10_000 }).toBe(true)
  // Of a listener and a timer for each of them.
  expect(warnings).toEqual([])
})

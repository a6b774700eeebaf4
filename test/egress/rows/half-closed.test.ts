import { createServer } from 'node:tls'
import { expect, test } from 'vitest'
import { webSocketAccept } from '../../../src/egress/request/websocket.ts'
import { host } from '../../support/armed.ts'
import { makeWorld, request, rule, type World } from '../../support/egress-world.ts'
import { byServerName, listenLocally } from '../../support/listening.ts'
import { mustOpen, startWebSocketUpstream } from '../../support/websocket.ts'

/** Clients that end their side of a tunnel, and read on. */

const key = 'dGhlIHNhbXBsZSBub25jZQ=='
const handshake = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${key}`,
]
const accepted = `HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${webSocketAccept(key)}\r\n\r\n`
const close = Buffer.from([0x88, 0])

/** Opens what it is asked for, and once the client has ended its side says a message every 300 ms, `messages` times. */
async function startTalker(world: World, messages: number) {
  const server = createServer({ ...byServerName(world.upstreamContext), allowHalfOpen: true }, (socket) => {
    let timer: NodeJS.Timeout | undefined
    let said = 0
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write(accepted))
    socket.on('close', () => clearInterval(timer))
    socket.on('end', () => {
      timer = setInterval(() => {
        said += 1
        if (said <= messages) socket.write(Buffer.from([0x81, 1, 0x61]))
        else if (messages > 0) socket.end(close)
      }, 300)
    })
  })
  const port = await listenLocally(server)
  return { port, [Symbol.asyncDispose]: async () => void server.close() }
}

/** Opens a WebSocket, says that it closes, ends its side, and reads what comes for as long as the connection stays. */
async function halfClose(world: World, port: number): Promise<{ got: Buffer; tookMs: number }> {
  await world.setRules([rule(host, port, { methods: ['WEBSOCKET'] })])
  const tunnel = await world.tunnel(host, port)
  const pieces: Buffer[] = []
  const closed = new Promise((resolve) => tunnel.once('close', resolve))
  let ended = 0
  tunnel.on('data', (piece: Buffer) => {
    pieces.push(piece)
    if (ended > 0) return
    ended = performance.now()
    tunnel.end(Buffer.from([0x88, 0x80, 1, 2, 3, 4]))
  })
  tunnel.write(request(host, port, '/live', handshake))
  await closed
  const all = Buffer.concat(pieces)
  const got = all.subarray(all.indexOf('\r\n\r\n') + 4)
  return { got, tookMs: performance.now() - ended }
}

test('a client that ends its side of a WebSocket reads on for as long as something still comes', async () => {
  await using world = await makeWorld()
  await using up = await startTalker(world, 15)
  const { got } = await halfClose(world, up.port)
  expect(got.toString('latin1')).toBe(`${'\x81\x01a'.repeat(15)}${close.toString('latin1')}`)
  expect(await world.outcome()).toMatchObject({
    status: 101,
    frames: { sent: 1, received: 16 },
    failure: null,
  })
})

test('row 38: one that ends its side where nothing comes any more is cut within two seconds', async () => {
  await using world = await makeWorld()
  await using up = await startTalker(world, 0)
  const { got, tookMs } = await halfClose(world, up.port)
  expect(got.length).toBe(0)
  expect(tookMs).toBeLessThan(4_000)
})

test('row 38: a client that goes away without a word is who ended its WebSocket, also where the upstream hangs up for it', async () => {
  await using world = await makeWorld()
  await using up = await startWebSocketUpstream(world.upstreamContext, () => undefined)
  await world.setRules([rule(host, up.port, { methods: ['WEBSOCKET'] })])
  for (const leave of ['end', 'destroy'] as const) {
    const over = await world.tunnel(host, up.port)
    await mustOpen(world, { host, port: up.port, over })
    over[leave]()
    await expect.poll(() => up.sockets.at(-1)?.readyState).toBe(3)
    expect(await world.outcome()).toMatchObject({ status: 101, failure: 'client_closed' })
  }
})

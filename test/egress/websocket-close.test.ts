import { expect, test } from 'vitest'
import { webSocketAccept } from '../../src/egress/request/websocket.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'

const host = 'live.example.com'
const key = Buffer.alloc(16, 1).toString('base64')
const opening = (port: number) =>
  request(host, port, '/live', [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
  ])
const proof = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${webSocketAccept(key)}\r\n\r\n`

test.each(['its client', 'its upstream'])(
  'a ping that crosses the close of %s is still answered, and the other close arrives',
  async (first) => {
    await using world = await makeWorld()
    const closing = Buffer.from([0x88, 2, 3, 0xe8])
    const ping = Buffer.from([0x89, 1, 0x61])
    const pong = Buffer.from([0x8a, 1, 0x61])
    const byHand = ([first = 0, length = 0, ...rest]: Buffer) =>
      Buffer.from([first, 0x80 | length, 0, 0, 0, 0, ...rest])
    // Who closes first answers the ping of the other, who has not read that close by then.
    const [byClient, byUpstream] =
      first === 'its client'
        ? [
            [closing, pong],
            [ping, closing],
          ]
        : [
            [ping, closing],
            [closing, pong],
          ]
    const heard: Buffer[] = []
    const up = await world.upstream(() => undefined)
    up.onUpgrade((socket) => {
      socket.write(`HTTP/1.1 101 OK\r\n${proof}`)
      socket.on('data', (chunk: Buffer) => {
        heard.push(chunk)
        if (Buffer.concat(heard).equals(Buffer.concat(byClient.map(byHand)))) socket.end()
      })
      for (const frame of byUpstream) socket.write(frame)
    })
    await world.setRules([rule(host, up.port, { methods: ['WEBSOCKET'], inject: injectBearer })])
    const tunnel = await world.tunnel(host, up.port)
    const back: Buffer[] = []
    tunnel.on('data', (chunk: Buffer) => back.push(chunk))
    const closed = new Promise((resolve) => tunnel.once('close', resolve))
    expect(await sayAndRead(tunnel, opening(up.port))).toContain('101')
    for (const frame of byClient) tunnel.write(byHand(frame))
    await closed
    const frames = Buffer.concat(back)
    expect(frames.subarray(frames.indexOf('\r\n\r\n') + 4)).toEqual(Buffer.concat(byUpstream))
    expect(await world.outcome()).toMatchObject({ failure: null, frames: { sent: 2, received: 2 } })
  },
)

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { makeWorld, request, rule, sayAndRead, type World } from '../../support/egress-world.ts'
import { frame, frameFlag, frameType, headerBlock, preface, pseudoHeaders } from '../../support/http2.ts'
import { startRawHttp2 } from '../../support/raw-http2.ts'
import { startWebSocketUpstream } from '../../support/websocket.ts'

/** One person's bytes that take long to deal with, and another person's request in the midst of them. */

const host = 'orders.example.com'
const chunks = '1\r\na\r\n'.repeat(10_000)
const framesOn = (stream: number) =>
  Buffer.concat(Array<Buffer>(25_000).fill(frame(frameType.data, 0, stream, Buffer.from('a'))))
const post = (port: number) => headerBlock(pseudoHeaders(host, port, 'POST'))

/** Each a hundred frames that are no part of a body, and a byte behind them. */
const framesAround = (stream: number) =>
  Buffer.concat([
    ...Array<Buffer>(100).fill(frame(frameType.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1]))),
    frame(frameType.data, 0, stream, Buffer.from('a')),
  ])
const fields = (count: number) => 'a: b\r\n'.repeat(count)

interface Noise {
  /** On all connections. */
  pieces: number
  /** How many of them have come to their end. */
  dealtWith: () => number
}

/** Adds a rule for a port of the host. */
type Allow = (port: number, extra?: object) => Promise<void>

/** What one person does, once their connections stand. */
const noises: Record<string, (world: World, allow: Allow) => Promise<Noise>> = {
  async 'chunks that are sent'(world, allow) {
    let got = 0
    const up = await world.upstream((req) => req.on('data', (piece: Buffer) => (got += piece.length)))
    await allow(up.port)
    const head = request(host, up.port, '/', ['Transfer-Encoding: chunked'], 'POST')
    for (const tunnel of await tunnels(world, up.port, 30)) tunnel.write(head + chunks)
    return { pieces: 300_000, dealtWith: () => got }
  },
  async 'frames that are sent'(world, allow) {
    let got = 0
    const up = await world.upstream((req) => req.on('data', (piece: Buffer) => (got += piece.length)))
    await allow(up.port)
    const head = frame(frameType.headers, frameFlag.endHeaders, 1, post(up.port))
    for (const tunnel of await tunnels(world, up.port, 10, 'h2'))
      tunnel.write(Buffer.concat([preface, head, framesOn(1)]))
    return { pieces: 250_000, dealtWith: () => got }
  },
  async 'keys of bodies that take a credential'(world, allow) {
    let got = 0
    const up = await world.upstream((req) => req.resume().on('end', () => (got += 1)))
    await allow(up.port, { inject: [{ credential: 'ORDERS_KEY', into: 'body:/key' }] })
    const members = Array.from({ length: 49_000 }, (_, i) => `"a-long-key-${i.toString(36)}":1`)
    const body = `{"key":1,"of":{${members.join(',')}}}`
    const fields = ['Content-Type: application/json', `Content-Length: ${body.length}`]
    const head = request(host, up.port, '/', fields, 'POST')
    for (const tunnel of await tunnels(world, up.port, 60)) tunnel.write(head + body)
    // By then most are here whole.
    await expect.poll(() => got, { timeout: 20_000 }).toBeGreaterThan(0)
    return { pieces: 60, dealtWith: () => got }
  },
  async 'chunks of answers'(world, allow) {
    const up = await world.upstream((_req, { socket }) => {
      socket?.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`)
    })
    await allow(up.port)
    return await askForAll(world, up.port, 30, 10_000)
  },
  async 'frames of answers'(world, allow) {
    const up = await startRawHttp2(world, ({ socket, stream }) => {
      socket.write(frame(frameType.headers, frameFlag.endHeaders, stream, headerBlock([[':status', '200']])))
      socket.write(framesOn(stream))
    })
    await allow(up.port)
    return await askForAll(world, up.port, 10, 25_000)
  },
  async 'frames around answers'(world, allow) {
    const up = await startRawHttp2(world, ({ socket, stream }) => {
      socket.write(frame(frameType.headers, frameFlag.endHeaders, stream, headerBlock([[':status', '200']])))
      socket.write(Buffer.concat(Array<Buffer>(1_000).fill(framesAround(stream))))
    })
    await allow(up.port)
    return await askForAll(world, up.port, 10, 1_000)
  },
  async 'fields of answers'(world, allow) {
    const answer = `HTTP/1.1 200 OK\r\n${fields(4_000)}Content-Length: 1\r\n\r\na`
    const up = await world.upstream((_req, { socket }) => void socket?.write(answer))
    await allow(up.port)
    return await askForAll(world, up.port, 40, answer.length)
  },
  async 'fields of trailers'(world, allow) {
    const answer = `1\r\na\r\n0\r\n${fields(4_000)}\r\n`
    const up = await world.upstream((_req, { socket }) => {
      socket?.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${answer}`)
    })
    await allow(up.port)
    return await askForAll(world, up.port, 40, answer.length)
  },
  async 'messages of WebSockets'(world, allow) {
    const messages = Buffer.from('\x81\x01a'.repeat(20_000), 'latin1')
    const up = await startWebSocketUpstream(world.upstreamContext, (socket) => {
      ;(socket as unknown as { _socket: Socket })._socket.write(messages)
    })
    await allow(up.port, { methods: ['WEBSOCKET'] })
    const handshake = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13']
    const key = `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`
    const noise = await askForAll(world, up.port, 15, 20_000, [...handshake, key])
    return { ...noise, dealtWith: () => noise.dealtWith() / 3 }
  },
}

async function tunnels(
  world: World,
  port: number,
  count: number,
  protocol = 'http/1.1',
): Promise<TLSSocket[]> {
  const all = await Promise.all(
    Array.from({ length: count }, () => world.tunnel(host, port, { protocols: [protocol] })),
  )
  for (const one of all) one.on('error', () => undefined).resume()
  return all
}

async function askForAll(
  world: World,
  port: number,
  count: number,
  pieces: number,
  fields: string[] = [],
): Promise<Noise> {
  let got = 0
  for (const tunnel of await tunnels(world, port, count)) {
    tunnel.on('data', (piece: Buffer) => (got += piece.length))
    tunnel.write(request(host, port, '/', fields))
  }
  return { pieces: count * pieces, dealtWith: () => got }
}

// A machine with others to serve gives noise time that it took from nobody: hence more than one try.
test.each(Object.entries(noises))(
  'row 38: %s, many, by all of one person’s connections, leave another person their share',
  { timeout: 60_000, retry: 2 },
  async (_, makeNoise) => {
    await using world = await makeWorld()
    const other = await world.addLease({})
    const up = await world.upstream((_req, res) => res.end('answer'))
    const rules = [rule(host, up.port)]
    const allow: Allow = async (port, extra) =>
      await world.setRules([...rules, rule(host, port, { ...extra })])
    await world.setRules(rules)
    const noise = await makeNoise(world, allow)
    const dealtWith: number[] = []
    for (let n = 0; n < 4; n += 1) {
      const tunnel = await world.tunnel(host, up.port, { lease: other.lease })
      expect(await sayAndRead(tunnel, request(host, up.port, '/'))).toContain('answer')
      tunnel.destroy()
      dealtWith.push(noise.dealtWith())
    }
    // Four tunnels and four requests later a proxy that deals with what has come has dealt with all of it.
    expect(Math.max(...dealtWith)).toBeLessThan(0.8 * noise.pieces)
    // And nothing of it is lost.
    await expect.poll(noise.dealtWith, { timeout: 20_000 }).toBeGreaterThanOrEqual(noise.pieces)
  },
)

import { expect, test } from 'vitest'
import {
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import {
  frame,
  frameFlag,
  frameType,
  headerBlock,
  preface,
  pseudoHeaders,
  readFrames,
} from '../../support/http2.ts'
import { startRawHttp2 } from '../../support/raw-http2.ts'
import { until } from '../../support/until.ts'
import type { Upstream } from '../../support/upstream.ts'
import { mustOpen, startWebSocketUpstream } from '../../support/websocket.ts'

/** Peers that send a byte at a time, as much of it as they can: it goes on whole, in its order, and in few pieces. */

const host = 'orders.example.com'
const bytes = 20_000
/** Every byte for itself would be this many times as many pieces. */
const atLeastAPiece = 20
/** Counted through, so that an order that is lost is seen. */
const text = Array.from({ length: bytes / 5 }, (_, n) => String(n).padStart(5, '.')).join('')

/** In one write, as they come where the other side is slower. */
const asFrames = (said: string) =>
  Buffer.concat(Array.from(said, (byte) => frame(frameType.data, 0, 1, Buffer.from(byte))))

/** An upstream by HTTP/1.1, and what each chunk of its requests had. */
async function counting(world: World): Promise<{ up: Upstream; pieces: string[] }> {
  const pieces: string[] = []
  const up = await world.upstream((req, res) => {
    req.on('data', (piece: Buffer) => pieces.push(piece.toString()))
    req.on('end', () => res.end('got it'))
  })
  await world.setRules([rule(host, up.port)])
  return { up, pieces }
}

test.each([true, false])(
  'row 38: an answer in frames of a byte goes on in few (searched: %s)',
  async (isSearched) => {
    await using world = await makeWorld()
    const answer = `${text}${theSecret}${text}`
    using up = await startRawHttp2(world, ({ socket, stream }) => {
      socket.write(frame(frameType.headers, frameFlag.endHeaders, stream, headerBlock([[':status', '200']])))
      socket.write(asFrames(answer))
      socket.write(frame(frameType.data, frameFlag.endStream, stream))
    })
    await world.setRules([rule(host, up.port, isSearched ? { inject: injectBearer } : {})])
    const heard = await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))
    const chunk = /([0-9a-f]+)\r\n/y
    const chunks: string[] = []
    chunk.lastIndex = heard.indexOf('\r\n\r\n') + 4
    for (let size = chunk.exec(heard); size !== null; size = chunk.exec(heard)) {
      chunks.push(heard.slice(chunk.lastIndex, chunk.lastIndex + Number.parseInt(size[1] ?? '', 16)))
      chunk.lastIndex += Number.parseInt(size[1] ?? '', 16) + 2
    }
    const shown = isSearched ? '*'.repeat(theSecret.length) : theSecret
    expect(chunks.join('')).toBe(`${text}${shown}${text}`)
    expect(chunks.length).toBeLessThan(answer.length / atLeastAPiece)
  },
)

test('row 38: what is sent in frames of a byte goes on in few', async () => {
  await using world = await makeWorld()
  const { up, pieces } = await counting(world)
  const secured = await world.tunnel(host, up.port, { protocols: ['h2'] })
  const frames = readFrames(secured)
  secured.write(preface)
  secured.write(frame(frameType.headers, 4, 1, headerBlock(pseudoHeaders(host, up.port, 'POST'))))
  secured.write(asFrames(text))
  secured.write(frame(frameType.data, frameFlag.endStream, 1))
  await until(() => frames.some(({ payload }) => payload.toString() === 'got it'))
  expect(pieces.join('')).toBe(text)
  expect(pieces.length).toBeLessThan(bytes / atLeastAPiece)
})

test('row 38: what is sent in chunks of a byte goes on in few', async () => {
  await using world = await makeWorld()
  const { up, pieces } = await counting(world)
  const secured = await world.tunnel(host, up.port)
  let heard = ''
  secured.on('data', (piece: Buffer) => {
    heard += piece.toString()
  })
  const chunks = Array.from(text, (byte) => `1\r\n${byte}\r\n`).join('')
  const head = `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nTransfer-Encoding: chunked\r\n\r\n`
  secured.write(`${head}${chunks}0\r\n\r\n`)
  await until(() => heard.includes('got it'))
  expect(pieces.join('')).toBe(text)
  expect(pieces.length).toBeLessThan(bytes / atLeastAPiece)
})

test('row 38: messages of a byte come as they are, each for itself', async () => {
  await using world = await makeWorld()
  await using up = await startWebSocketUpstream(world.upstreamContext, (socket) => {
    for (const byte of text) socket.send(byte)
    socket.send(theSecret)
    socket.close()
  })
  const methods = ['WEBSOCKET']
  await world.setRules([rule(host, up.port, { methods, inject: injectBearer })])
  const { messages, closed } = await mustOpen(world, { host, port: up.port })
  await closed
  expect(messages).toEqual([...text.split(''), '*'.repeat(theSecret.length)])
})

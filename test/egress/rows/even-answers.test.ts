import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { webSocketAccept } from '../../../src/egress/request/websocket.ts'
import { host, listenTo } from '../../support/armed.ts'
import {
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import { http2Client, pseudoHeaders } from '../../support/http2.ts'
import { mustOpen, startWebSocketUpstream } from '../../support/websocket.ts'

/**
 * What a client could learn of a credential from how bytes of its own come back, by an upstream that never shows any of
 * it. A guess is right or wrong in its last letter, and both must be passed on alike. On a machine that stands still a
 * pause may come between: so they are alike if they are once in a few times. Waiting for what may begin a secret, and
 * for nothing else, they never were. None ends with the eighth letter or the sixteenth: by as many at once a beginning
 * is known in a pause (docs/decisions/0034).
 */
const guesses = [1, 2, 6, 7, 8, 12, 20, 42].map((length) => {
  const right = theSecret.slice(0, length)
  return [right, `${right.slice(0, -1)}Q`] as const
})
const pads = [[], ['.'.repeat(20_000)], ['.'.repeat(16_000), '.'.repeat(16_000), '.'.repeat(16_000)]]

/** The guesses of which the right one came back otherwise than the wrong one, and how each did. */
async function toldApart(ask: (pieces: string[]) => Promise<unknown>): Promise<unknown[]> {
  const apart: unknown[] = []
  for (const pad of pads)
    for (const [right, wrong] of guesses) {
      let came: unknown[] = []
      for (let tries = 0; tries < 5; tries += 1) {
        came = [await ask([...pad, right, '~ the rest']), await ask([...pad, wrong, '~ the rest'])]
        if (isDeepStrictEqual(came[0], came[1])) break
      }
      if (!isDeepStrictEqual(came[0], came[1])) apart.push({ right, before: pad.length, came })
    }
  return apart
}

async function oneByOne(pieces: readonly string[], send: (piece: string) => void): Promise<void> {
  for (const piece of pieces) {
    send(piece)
    await sleep(3)
  }
}

/** An upstream that sends pieces one after the other, without a pause between. */
async function startPieces(world: World) {
  let pieces: string[] = []
  const up = await world.upstream((_req, res) => {
    void oneByOne(pieces, (piece) => res.write(piece)).then(() => res.end())
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  return { up, will: (now: string[]) => void (pieces = now) }
}

test('row 7: a right guess of a credential comes back in the same pieces as a wrong one, by HTTP/1.1', async () => {
  await using world = await makeWorld()
  const { up, will } = await startPieces(world)
  const socket = await world.tunnel(host, up.port)
  const apart = await toldApart(async (pieces) => {
    will(pieces)
    const answer = await sayAndRead(socket, request(host, up.port, '/'))
    expect(answer).toMatch(/the rest\r\n0\r\n\r\n$/)
    return [...answer.matchAll(/\r\n([0-9a-f]+)\r\n/g)].map(([, size]) => size)
  })
  expect(apart).toEqual([])
})

test('row 7: a right guess of a credential comes back in the same pieces as a wrong one, by HTTP/2', async () => {
  await using world = await makeWorld()
  const { up, will } = await startPieces(world)
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const pseudo = Object.fromEntries(pseudoHeaders(host, up.port, 'GET'))
  const apart = await toldApart(async (pieces) => {
    will(pieces)
    const stream = client.request(pseudo)
    const sizes: number[] = []
    for await (const piece of stream) sizes.push((piece as Buffer).length)
    return sizes
  })
  client.destroy()
  expect(apart).toEqual([])
})

/** The sizes of the pieces that come by `tunnel` from when it is asked for them until the WebSocket tells of `event`. */
async function sizesUntil(
  event: 'message' | 'pong',
  tunnel: TLSSocket,
  socket: WebSocket,
  ask: () => void,
): Promise<number[]> {
  const sizes: number[] = []
  const count = (piece: Buffer) => void sizes.push(piece.length)
  tunnel.on('data', count)
  const whole = new Promise((resolve) => socket.once(event, resolve))
  ask()
  await whole
  tunnel.off('data', count)
  return sizes
}

/** The guesses that are told apart by a message that `say` sends in pieces. */
async function toldApartInMessages(
  say: (server: WebSocket, pieces: readonly string[]) => Promise<void>,
): Promise<unknown[]> {
  await using world = await makeWorld()
  let pieces: string[] = []
  await using up = await startWebSocketUpstream(world.upstreamContext, (server) => {
    server.on('message', () => void say(server, pieces))
  })
  await world.setRules([rule(host, up.port, { methods: ['WEBSOCKET'], inject: injectBearer })])
  const tunnel = await world.tunnel(host, up.port)
  const { socket } = await mustOpen(world, { host, port: up.port, path: '/', over: tunnel })
  const apart = await toldApart(async (now) => {
    pieces = now
    return await sizesUntil('message', tunnel, socket, () => socket.send('again'))
  })
  socket.terminate()
  return apart
}

test('row 7: a right guess of a credential comes back in the same pieces as a wrong one, by a WebSocket', async () => {
  const apart = await toldApartInMessages(async (server, pieces) => {
    await oneByOne(pieces, (piece) => server.send(piece, { fin: false }))
    server.send('', { fin: true })
  })
  expect(apart).toEqual([])
})

test('row 7: a right guess in the midst of a message that pauses behind it comes as a wrong one does, and a ping too', async () => {
  const apart = await toldApartInMessages(async (server, pieces) => {
    const rest = pieces.at(-1) ?? ''
    await oneByOne(pieces.slice(0, -1), (piece) => server.send(piece, { fin: false }))
    server.ping('between')
    await sleep(120)
    server.send(rest, { fin: true })
  })
  expect(apart).toEqual([])
})

test('row 7: a right guess that a server sends back in a pong, as all do, comes in the same pieces as a wrong one', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end())
  let pieces: string[] = []
  up.onUpgrade((socket, req) => {
    const accept = webSocketAccept(String(req.headers['sec-websocket-key']))
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    socket.on('data', () => {
      // The last of what comes is its end: a pong has room for 125 bytes.
      const [guess = '', rest = ''] = pieces.slice(-2)
      const head = Buffer.from([0x8a, guess.length + rest.length])
      void oneByOne([head.toString('latin1') + guess, rest], (piece) => socket.write(piece, 'latin1'))
    })
  })
  await world.setRules([rule(host, up.port, { methods: ['WEBSOCKET'], inject: injectBearer })])
  const tunnel = await world.tunnel(host, up.port)
  const { socket } = await mustOpen(world, { host, port: up.port, path: '/', over: tunnel })
  const apart = await toldApart(async (now) => {
    pieces = now
    return await sizesUntil('pong', tunnel, socket, () => socket.ping())
  })
  socket.terminate()
  expect(apart).toEqual([])
})

test('row 7: lines and events of a searched stream wait for nothing', async () => {
  await using world = await makeWorld()
  let send: (text: string) => void = () => undefined
  const up = await world.upstream((_req, res) => {
    res.flushHeaders()
    send = (text) => void res.write(text)
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  socket.write(request(host, up.port, '/'))
  await expect.poll(() => heard.text).toContain('200 OK')
  const took = async (text: string) => {
    const began = performance.now()
    send(text)
    while (!heard.text.includes(text)) await sleep(1)
    return performance.now() - began
  }
  const lines: number[] = []
  const others: number[] = []
  for (let i = 0; i < 20; i += 1) {
    for (const line of [
      `data: ${i} one\n\n`,
      `{"number":${i}}\n`,
      `{"text":"${i}"}\r\n`,
      `{"done":false,"i":[${i}]}\n`,
    ])
      lines.push(await took(line))
    others.push(await took(`the middle of text ${i} `))
    // Nothing shall wait in front of the next line.
    await took(`{"end":${i}}\n`)
  }
  const median = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? Number.NaN
  expect(median(lines)).toBeLessThan(median(others) / 2)
})

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import type { WebSocket } from 'ws'
import { Secret } from '../../../src/core/index.ts'
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

test('row 7: a guess that stands before a pause is told by no fewer characters in hexadecimal or base64 than as it is', async () => {
  await using world = await makeWorld()
  let guess = ''
  const up = await world.upstream((_req, res) => {
    res.write(guess)
    setTimeout(() => res.end('~ the rest'), 150)
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  const came = async (now: string) => {
    guess = now
    const answer = await sayAndRead(socket, request(host, up.port, '/'))
    return [...answer.matchAll(/\r\n([0-9a-f]+)\r\n/g)].map(([, size]) => size)
  }
  const written: Record<string, (text: string) => string> = {
    hex: (text) => Buffer.from(text).toString('hex'),
    HEX: (text) => Buffer.from(text).toString('hex').toUpperCase(),
    base64: (text) => Buffer.from(text).toString('base64').replace(/=+$/, ''),
  }
  for (const [name, write] of Object.entries(written))
    for (const length of [3, 4, 5, 6, 7]) {
      const right = write(theSecret.slice(0, length))
      const wrong = write('Q'.repeat(length))
      let [one, other] = [await came(right), await came(wrong)]
      for (let tries = 0; tries < 4 && !isDeepStrictEqual(one, other); tries += 1)
        [one, other] = [await came(right), await came(wrong)]
      expect([name, length, one]).toEqual([name, length, other])
    }
})

test('row 7: a long token that an upstream writes in escapes, and pauses within the last of them, is not shown', async () => {
  await using world = await makeWorld()
  const token = `eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.${createHash('shake256', { outputLength: 300 }).update('a').digest('hex')}`
  const escaped = Array.from(token, (sign) => `\\u00${sign.charCodeAt(0).toString(16)}`).join('')
  await world.vault.setCredential({
    name: 'LONG_TOKEN',
    scope: 'global',
    scopeId: '',
    value: new Secret(token),
    by: 'test',
  })
  const up = await world.upstream((req, res) => {
    const text = `{"${req.url?.slice(1)}":"${escaped}"}`
    res.write(text.slice(0, -3))
    setTimeout(() => res.end(text.slice(-3)), 150)
  })
  await world.setRules([
    rule(host, up.port, {
      inject: [{ credential: 'LONG_TOKEN', into: 'header:authorization', format: 'Bearer {value}' }],
    }),
  ])
  const socket = await world.tunnel(host, up.port)
  // Every fourth letter of a text is looked at, and where they are counted from nobody knows.
  for (let letters = 1; letters <= 8; letters += 1) {
    const answer = await sayAndRead(socket, request(host, up.port, `/${'a'.repeat(letters)}`))
    expect(answer).toContain('*'.repeat(20))
    expect(answer).not.toContain('\\u')
  }
})

test('row 7: how well an answer was compressed, and so whether a guess in it is the credential beside it, cuts nothing off', async () => {
  await using world = await makeWorld()
  const page = (guess: string, grown: number) =>
    `{"authorization":"Bearer ${theSecret}","you":"Bearer ${guess}","pad":"${'a'.repeat(grown)}"}`
  const up = await world.upstream((req, res) => {
    const [, guess = '', grown] = req.url?.split('/') ?? []
    res.setHeader('content-encoding', 'gzip').end(gzipSync(page(decodeURIComponent(guess), Number(grown))))
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  // Where a byte more or less of what came would make the difference, or not by far.
  for (const grown of [1_100_000, 1_500_000, 2_500_000])
    for (const guess of [theSecret.slice(0, 8), `${theSecret.slice(0, 7)}Q`]) {
      const socket = await world.tunnel(host, up.port)
      const heard = listenTo(socket)
      socket.write(request(host, up.port, `/${encodeURIComponent(guess)}/${grown}`, ['Connection: close']))
      await expect.poll(() => heard.closed, { timeout: 10_000 }).toBe(true)
      expect(heard.text).toContain('Bearer ****')
      expect([grown, heard.text.endsWith('0\r\n\r\n')]).toEqual([grown, true])
    }
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

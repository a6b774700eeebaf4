import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { host } from '../../support/armed.ts'
import { makeWorld, rule } from '../../support/egress-world.ts'
import {
  ask,
  frame,
  frameFlag,
  frameType,
  headerBlock,
  http2Client,
  preface,
  pseudoHeaders,
  readFrames,
  startHttp2Upstream,
} from '../../support/http2.ts'
import { until } from '../../support/until.ts'

/** Heads by HTTP/2 that never come to their end. The silence of a tunnel is allowed far longer here than a head is. */

const limits = { headersTimeoutMs: 300, tunnelIdleTimeoutMs: 60_000 }
const { endStream, endHeaders, padded } = frameFlag

const fields = (port: number, path?: string) => pseudoHeaders(host, port, 'GET', path)

const slow: [string, (port: number) => Buffer, (n: number) => Buffer | undefined][] = [
  ['says nothing at all', () => Buffer.alloc(0), () => undefined],
  ['sends half of the preface', () => preface.subarray(0, 20), () => undefined],
  [
    'sends a preface without its SETTINGS, byte by byte',
    () => preface.subarray(0, 1),
    (n) => preface.subarray(n, n + 1),
  ],
  [
    'never ends its head',
    (port) => Buffer.concat([preface, frame(frameType.headers, endStream, 1, headerBlock(fields(port)))]),
    () => undefined,
  ],
  [
    'sends its head byte by byte',
    (port) => {
      const long = headerBlock([...fields(port), ['x', 'a'.repeat(9_000)]])
      return Buffer.concat([
        preface,
        frame(frameType.headers, endStream | endHeaders, 1, long).subarray(0, 100),
      ])
    },
    () => Buffer.from('a'),
  ],
  [
    'sends its head padded, and not to its end',
    (port) => {
      const payload = Buffer.concat([Buffer.from([4]), headerBlock(fields(port)), Buffer.alloc(4)])
      return Buffer.concat([
        preface,
        frame(frameType.headers, endStream | endHeaders | padded, 1, payload).subarray(0, 40),
      ])
    },
    () => undefined,
  ],
  [
    'adds to its head again and again',
    (port) => Buffer.concat([preface, frame(frameType.headers, endStream, 1, headerBlock(fields(port)))]),
    (n) => (n % 10 === 0 ? frame(frameType.continuation, 0, 1, headerBlock([['x', 'y']])) : undefined),
  ],
  [
    'begins another head behind a request under way',
    (port) =>
      Buffer.concat([
        preface,
        frame(frameType.headers, endStream | endHeaders, 1, headerBlock(fields(port, '/slow'))),
        frame(frameType.headers, endStream, 3, headerBlock(fields(port))),
      ]),
    () => undefined,
  ],
]

test.each(slow)(
  'row 38: a client of HTTP/2 that %s is let go in the time of a head, and recorded',
  async (_, first, next) => {
    await using world = await makeWorld({ limits })
    await using up = await startHttp2Upstream(world.upstreamContext, (stream) =>
      stream.respond({ ':status': 200 }),
    )
    await world.setRules([rule(host, up.port)])
    const socket = await world.tunnel(host, up.port, { protocols: ['h2'] })
    socket.resume()
    let closed = false
    socket.on('close', () => {
      closed = true
    })
    socket.write(first(up.port))
    let n = 0
    const drip = setInterval(() => {
      n += 1
      const bytes = next(n)
      if (bytes !== undefined && socket.writable) socket.write(bytes)
    }, 50)
    try {
      await until(() => closed, 6_000)
    } finally {
      clearInterval(drip)
    }
    const denied = await world.events('egress.denied')
    expect(denied.map(({ data }) => data['reason'])).toEqual(['head_timeout'])
    expect(up.seen.map((seen) => seen[':path']).filter((path) => path !== '/slow')).toEqual([])
  },
)

/** Answers PING as every client does, for as long as frames are written by hand. */
function answeringPings(socket: TLSSocket) {
  const back = readFrames(socket)
  let answered = 0
  socket.on('data', () => {
    const pings = back.filter(({ type }) => type === frameType.ping)
    for (const { payload } of pings.slice(answered)) socket.write(frame(frameType.ping, 1, 0, payload))
    answered = pings.length
  })
  return back
}

test('row 38: who is silent between whole heads, takes long over a body or sent a head that is none keeps the session', async () => {
  await using world = await makeWorld({ limits })
  await using up = await startHttp2Upstream(world.upstreamContext, (stream) => {
    stream.resume()
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      stream.end('fine')
    })
  })
  await world.setRules([rule(host, up.port)])
  const client = http2Client(await world.tunnel(host, up.port, { protocols: ['h2'] }))
  const plain = Object.fromEntries(fields(up.port))
  expect((await ask(client, plain)).body).toBe('fine')
  const upload = client.request({ ...plain, ':method': 'POST' }, { endStream: false })
  upload.write('a')
  const byHand = await world.tunnel(host, up.port, { protocols: ['h2'] })
  const back = answeringPings(byHand)
  const bad = headerBlock([...fields(up.port), ['X-Upper', '1']])
  byHand.write(Buffer.concat([preface, frame(frameType.headers, endStream | endHeaders, 1, bad)]))
  await sleep(4_000)
  upload.end('b')
  expect((await ask(client, plain)).body).toBe('fine')
  byHand.write(frame(frameType.headers, endStream | endHeaders, 3, headerBlock(fields(up.port))))
  await until(() => back.some(({ type, stream }) => type === frameType.data && stream === 3))
  expect(back.some(({ type, stream }) => type === frameType.reset && stream === 1)).toBe(true)
  expect(await world.events('egress.denied', 0)).toEqual([])
  client.destroy()
})

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { PassThrough, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { createLoopShare } from '../../src/egress/bounds/loop-share.ts'
import type { Outgoing } from '../../src/egress/upstream/channel.ts'
import { createHttp1 } from '../../src/egress/upstream/http1.ts'
import { request, rule, sayAndRead } from '../support/egress-world.ts'
import { makeRawWorld } from '../support/raw-upstream.ts'

const host = 'orders.example.com'
const answer = (text: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`

test('requests one after the other share a connection, and each gets its own answer', async () => {
  await using raw = await makeRawWorld()
  const up = await raw.start((socket) => {
    let n = 0
    socket.write(answer('first'))
    socket.on('data', () => socket.write(answer(`later ${++n}`)))
  })
  await raw.world.setRules([rule(host, up.port)])
  const socket = await raw.world.tunnel(host, up.port)
  const said: string[] = []
  for (let n = 0; n < 4; n++)
    said.push((await sayAndRead(socket, request(host, up.port, '/'))).split('\r\n\r\n')[1] ?? '')
  expect(said).toEqual(['first', 'later 1', 'later 2', 'later 3'])
  expect(up.heads).toHaveLength(1)
})

test.each([
  ['speaks while nobody asks', (text: string) => answer(text)],
  ['says half of something while nobody asks', () => 'HTTP/1.1 200 OK\r\nA: '],
])('a connection whose upstream %s is not used again', async (_, unasked) => {
  await using raw = await makeRawWorld()
  let connections = 0
  const up = await raw.start((socket) => {
    connections += 1
    socket.write(answer(`connection ${connections}`))
    setTimeout(() => socket.write(unasked('poison')), 30)
  })
  await raw.world.setRules([rule(host, up.port)])
  const socket = await raw.world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('connection 1')
  await sleep(150)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('connection 2')
})

test.each(['H', 'HTTP/1.1 200 OK\r\nX-Poison: ', 'HTTP/1.1 103 Early Hints\r\n'])(
  'row 19: a connection is not used again whose upstream says %j in one piece with an answer',
  async (beginning) => {
    await using raw = await makeRawWorld()
    let connections = 0
    const up = await raw.start((socket) => {
      connections += 1
      socket.write(answer(`connection ${connections}`) + beginning)
      // Behind the half head it would be a field of it.
      socket.on('data', () => socket.write(answer('poisoned')))
    })
    await raw.world.setRules([rule(host, up.port)])
    const socket = await raw.world.tunnel(host, up.port)
    expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('connection 1')
    expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('connection 2')
  },
)

test.each([
  ['says that it closes', 'Connection: close\r\n'],
  ['is older than kept connections', ''],
])('a connection whose upstream %s is not used again', async (_, field) => {
  await using raw = await makeRawWorld()
  let connections = 0
  const version = field === '' ? '1.0' : '1.1'
  const up = await raw.start((socket) => {
    connections += 1
    socket.write(`HTTP/${version} 200 OK\r\n${field}Content-Length: 12\r\n\r\nconnection ${connections}`)
  })
  await raw.world.setRules([rule(host, up.port)])
  const socket = await raw.world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('connection 1')
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('connection 2')
})

test('an answer that came before the whole of the body leaves no connection to reuse', async () => {
  await using raw = await makeRawWorld()
  let connections = 0
  const up = await raw.start((socket) => {
    connections += 1
    socket.write(answer(`connection ${connections}`))
  })
  await raw.world.setRules([rule(host, up.port)])
  const early = await raw.world.tunnel(host, up.port)
  const head = `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Length: 10\r\n\r\n`
  expect(await sayAndRead(early, `${head}half`)).toContain('connection 1')
  const socket = await raw.world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('connection 2')
})

test.each(['GET', 'POST'])(
  'a %s on a kept connection that its upstream closes at that moment is sent once, and refused if it was lost',
  async (method) => {
    await using raw = await makeRawWorld()
    const seen: string[] = []
    const note = (text: string) => void seen.push(text.split(' ')[1] ?? '')
    const ends: ((socket: Socket) => unknown)[] = [
      (socket) => socket.destroy(),
      (socket) => socket.end(),
      (socket) => {
        socket.write('HTTP/1.1 2')
        socket.destroy()
      },
      (socket) => socket.write(answer('ok')),
    ]
    const up = await raw.start((socket, head) => {
      note(head)
      const mine = ends[seen.length % ends.length]
      socket.write(answer('ok'))
      socket.on('data', (chunk: Buffer) => {
        note(chunk.toString('latin1'))
        mine?.(socket)
      })
      // By itself too, about when the next request comes.
      if (seen.length % 3 === 0) setTimeout(() => socket.end(), 10)
    })
    await raw.world.setRules([rule(host, up.port)])
    const said: string[] = []
    for (let n = 0; n < 40; n++) {
      const socket = await raw.world.tunnel(host, up.port)
      for (const path of [`/${n}-first`, `/${n}-second`]) {
        said.push((await sayAndRead(socket, request(host, up.port, path, [], method))).slice(9, 12))
        await sleep(8 + (n % 5))
      }
      socket.destroy()
    }
    expect(new Set(said)).toEqual(new Set(['200', '502']))
    expect(seen.toSorted()).toEqual([...new Set(seen)].toSorted())
  },
)

/** A connection to an upstream that says nothing by itself, and the upstream's own end of it. */
async function pair(): Promise<{ socket: Socket; far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = (await once(server, 'connection')) as [Socket]
  server.close()
  return { socket, far }
}

test('a connection that nobody has used for four seconds is closed, sooner than most upstreams would', async () => {
  const { socket } = await pair()
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  try {
    createHttp1({ idleTimeoutMs: 30_000, maxHeaderSize: 1_000 })
      .adopt(host, socket, createLoopShare().of('alice'))
      .release()
    await new Promise(setImmediate)
    vi.advanceTimersByTime(3_500)
    expect(socket.destroyed).toBe(false)
    vi.advanceTimersByTime(1_400)
    expect(socket.destroyed).toBe(true)
  } finally {
    vi.useRealTimers()
  }
})

test.each([
  ['whole', 0, 'ended'],
  ['cut off', 1, 'failed'],
])(
  'an answer that has come before its upstream broke off is %s, though nobody had asked for the rest of it yet',
  async (_, missing, how) => {
    const { socket, far } = await pair()
    const http1 = createHttp1({ idleTimeoutMs: 30_000, maxHeaderSize: 1_000 })
    const tuple = { scheme: 'http', host, port: 80, method: 'GET', path: '/', query: '' } as const
    const told: string[] = []
    let got = 0
    const over = new Promise((resolve) => {
      const tell = (what: string) => () => {
        told.push(what)
        resolve(what)
      }
      const request = http1.adopt(host, socket, createLoopShare().of('alice')).open(
        { tuple, headers: [], content: undefined, secretFields: [], switching: false },
        {
          answered(answer) {
            answer.read({
              data: (part) => (got += part.length),
              ended: tell('ended'),
              failed: tell('failed'),
            })
            answer.pause()
          },
          failed: tell('failed'),
          timedOut: tell('timed out'),
          switched: tell('switched'),
        },
      )
      request.send(undefined, () => [])
    })
    await once(far, 'data')
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${20_000 + missing}\r\n\r\n`
    for (const part of [head, 'a'.repeat(10_000), 'b'.repeat(10_000)]) {
      const before = socket.bytesRead
      far.write(part)
      await expect.poll(() => socket.bytesRead).toBe(before + part.length)
    }
    expect(got).toBe(0)
    far.resetAndDestroy()
    expect(await over).toBe(how)
    expect(got).toBe(20_000)
    expect(told).toEqual([how])
  },
)

/** One request on a connection of its own: what it sends, and what was told of it. */
async function sent(over: Partial<Outgoing>, body?: Readable, heard = () => undefined as void) {
  const { socket, far } = await pair()
  let text = ''
  far.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    heard()
  })
  const told: string[] = []
  const tuple = { scheme: 'http', host, port: 80, method: 'POST', path: '/', query: '' } as const
  const tell = (what: string) => () => void told.push(what)
  createHttp1({ idleTimeoutMs: 30_000, maxHeaderSize: 1_000 })
    .adopt(host, socket, createLoopShare().of('alice'))
    .open(
      { tuple, headers: [], content: undefined, secretFields: [], switching: false, ...over },
      {
        answered: tell('answered'),
        failed: tell('failed'),
        timedOut: tell('timed out'),
        switched: tell('switched'),
      },
    )
    .send(body, () => [])
  await once(far, 'close')
  return { text, told }
}

test.each([
  ['more', (body: PassThrough) => void body.write('ef')],
  ['less', (body: PassThrough) => void body.end()],
])('row 23: of a body with %s than it said nothing more goes out, nor behind it', async (_, go) => {
  const body = new PassThrough()
  body.write('abcd')
  const { text, told } = await sent({ content: 5 }, body, () => go(body))
  expect(text).toMatch(/\r\n\r\nabcd$/)
  expect(told).toEqual(['failed'])
})

const tuple = { scheme: 'http', host, port: 80, method: 'GET', path: '/', query: '' } as const

test.each<[string, Partial<Outgoing>]>([
  ['a space in its path', { tuple: { ...tuple, path: '/ HTTP/1.1' } }],
  ['a line break in its query', { tuple: { ...tuple, query: '?a\r\nB: c' } }],
  ['a character beyond Latin-1 in its path', { tuple: { ...tuple, path: '/\u{10d}' } }],
  ['a line break in a field', { headers: ['A', 'b\r\nC: d'] }],
  ['a name of a field that is none', { headers: ['A: b\r\nC', 'd'] }],
])('row 22: a request with %s is not written', async (_, over) => {
  await expect(sent(over)).rejects.toThrow(/character|token/)
})

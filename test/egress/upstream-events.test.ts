import { expect, test } from 'vitest'
import { createLoopShare } from '../../src/egress/bounds/loop-share.ts'
import type { Outgoing, UpstreamAnswer, UpstreamEvents } from '../../src/egress/upstream/channel.ts'
import { createConnect, createTrust } from '../../src/egress/upstream/connection.ts'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { createUpstream } from '../../src/egress/upstream/upstream.ts'
import { makeWorld, type World } from '../support/egress-world.ts'
import { startHttp2Upstream } from '../support/http2.ts'

const host = 'orders.example.com'

/** Opens requests as the proxy does, for whoever wants to know what is told of them. */
async function openTo(world: World, port: number) {
  const trust = createTrust({ trustedCas: [world.upstreamCa], systemRoots: false })
  const upstream = createUpstream({
    connect: createConnect({ dial: systemDial, trust, dialTimeoutMs: 5_000 }),
    share: createLoopShare(),
    idleTimeoutMs: 5_000,
    maxHeaderSize: 16_384,
  })
  const place = { secure: true, host, port, addresses: ['127.0.0.1'], principalId: 'alice', poolKey: '' }
  const outgoing: Outgoing = {
    tuple: { scheme: 'https', host, port, method: 'GET', path: '/', query: '' },
    headers: ['host', host],
    content: undefined,
    secretFields: [],
    switching: false,
  }
  const channel = await upstream.channel(place, false)
  return {
    [Symbol.dispose]: () => upstream.close(),
    /** Whether a connection is there for whoever asks next. */
    isKept() {
      const next = upstream.channel(place, false)
      if (!(next instanceof Promise)) {
        next.release()
        return true
      }
      // It is being made, and ends with the rest.
      next.catch(() => undefined)
      return false
    },
    open(answered: (answer: UpstreamAnswer) => void) {
      const told: string[] = []
      const tell = (what: string) => () => void told.push(what)
      const events: UpstreamEvents = {
        answered(answer) {
          told.push('answered')
          answered(answer)
        },
        failed: tell('failed'),
        timedOut: tell('timed out'),
        switched: tell('switched'),
      }
      const request = channel.open(outgoing, events)
      request.send(undefined, () => [])
      return { told, request }
    },
  }
}

test.each(['HTTP/1.1', 'HTTP/2'])(
  'by %s a request fails whose answer could not be taken, and is told so once',
  async (version) => {
    await using world = await makeWorld()
    await using two = await startHttp2Upstream(world.upstreamContext, (stream) => {
      stream.respond({ ':status': 200 })
      stream.end('hello')
    })
    const one = await world.upstream((_req, res) => res.end('hello'))
    using to = await openTo(world, version === 'HTTP/2' ? two.port : one.port)
    const { told } = to.open(() => {
      throw new Error('no room for it')
    })
    await expect.poll(() => told).toEqual(['answered', 'failed'])
  },
)

test.each(['HTTP/1.1', 'HTTP/2'])(
  'by %s nothing is told of a request that was aborted, and of a body that was cut off its reader hears alone',
  async (version) => {
    await using world = await makeWorld()
    let closed = 0
    let cut = () => undefined as void
    await using two = await startHttp2Upstream(world.upstreamContext, (stream) => {
      stream.once('close', () => (closed += 1))
      stream.respond({ ':status': 200 })
      stream.write('half')
      cut = () => void stream.destroy(new Error('cut off'))
    })
    const one = await world.upstream((req, res) => {
      req.socket.once('close', () => (closed += 1))
      res.write('half')
      cut = () => void res.destroy()
    })
    const port = version === 'HTTP/2' ? two.port : one.port
    const read: string[] = []
    const answered = (answer: UpstreamAnswer) =>
      answer.read({
        data: () => cut(),
        ended: () => void read.push('ended'),
        failed: () => void read.push('failed'),
      })
    using to = await openTo(world, port)
    const first = to.open(answered)
    await expect.poll(() => read).toEqual(['failed'])
    await expect.poll(() => closed).toBe(1)
    expect(first.told).toEqual(['answered'])
    using again = await openTo(world, port)
    const second = again.open(answered)
    second.request.abort()
    await expect.poll(() => closed).toBe(2)
    expect(second.told).toEqual([])
  },
)

test('row 19: a connection is kept only once the turn of its answer is over: what stands behind that is no other’s', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('hello'))
  using to = await openTo(world, up.port)
  const kept: boolean[] = []
  to.open((answer) =>
    answer.read({
      data: () => undefined,
      ended() {
        kept.push(to.isKept())
        queueMicrotask(() => kept.push(to.isKept()))
        process.nextTick(() => kept.push(to.isKept()))
        setImmediate(() => setImmediate(() => kept.push(to.isKept())))
      },
      failed: () => undefined,
    }),
  )
  await expect.poll(() => kept).toEqual([false, false, false, true])
})

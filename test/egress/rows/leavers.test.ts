import type { ServerHttp2Stream } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { systemDial } from '../../../src/egress/upstream/dial.ts'
import { armed, host } from '../../support/armed.ts'
import {
  connectRequest,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../../support/egress-world.ts'
import {
  frame,
  frameType,
  headerBlock,
  http2Client,
  preface,
  pseudoHeaders,
  readFrames,
  startHttp2Upstream,
} from '../../support/http2.ts'
import { until } from '../../support/until.ts'

/** Clients that leave, stay or end half of their connection at any point: all is let go, and others are served. */

test('row 38: a client that sends the end of its bytes in the middle of anything is let go', async () => {
  await using world = await makeWorld({ limits: { handshakeTimeoutMs: 300, headersTimeoutMs: 300 } })
  const { up } = await armed(world, (req, res) => {
    req.on('data', () => undefined)
    req.on('end', () => res.end('ok'))
  })
  const beforeHead = await world.connect()
  beforeHead.end('CONNECT ord')
  const afterConnect = await world.connect()
  await sayAndRead(afterConnect, connectRequest(host, up.port, 'orders', world.lease))
  afterConnect.end()
  const inHead = await world.tunnel(host, up.port)
  inHead.end('GET / HTTP/1.1\r\nHost:')
  const inBody = await world.tunnel(host, up.port)
  inBody.end(`POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Length: 10\r\n\r\nabc`)
  const sockets = [beforeHead, afterConnect, inHead, inBody]
  for (const socket of sockets) socket.resume()
  await until(() => sockets.every((socket) => socket.destroyed))
  expect(up.seen.every((seen) => seen.body.length < 10)).toBe(true)
  expect(await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/'))).toContain('200 OK')
})

test('row 38: a refused CONNECT is closed whatever its client does, and gives its place back', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 5, requestsPerPrincipal: 5 } })
  const { up } = await armed(world, (_req, res) => res.end('fine'), { paths: ['/v1'] })
  const refused = async (lease: string) => {
    const socket = connectTcp({ path: world.egress.socketPath ?? '', allowHalfOpen: true })
    const said = await sayAndRead(socket, connectRequest('nowhere.example.com', 443, 'orders', lease))
    expect(said).toMatch(/^HTTP\/1.1 40[37]/)
    return socket
  }
  const clients: Socket[] = []
  for (let i = 0; i < 5; i += 1) {
    const talker = await refused(world.lease)
    talker.on('error', () => undefined)
    // Bytes that nobody reads kept the end behind them from being seen.
    talker.write('more')
    talker.end(() => talker.destroy())
    const stranger = await refused('a-lease-that-is-none')
    const holder = await refused(world.lease)
    clients.push(stranger, holder)
  }
  const closed = clients.map(
    (socket) =>
      new Promise((resolve) => {
        // Held open, a write would be taken for ever.
        socket.on('error', resolve)
        const write = setInterval(() => socket.write('x'), 100)
        socket.once('close', () => clearInterval(write))
      }),
  )
  await Promise.all(closed)
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/v1'))).toContain('200 OK')
})

test('row 38: a client that holds a refused connection does not hold up the proxy’s end', async () => {
  await using world = await makeWorld()
  const proxy = await world.replica()
  const held = connectTcp({ path: proxy.socketPath ?? '', allowHalfOpen: true })
  held.on('error', () => undefined)
  await sayAndRead(held, connectRequest('nowhere.example.com', 443, 'orders', world.lease))
  await proxy[Symbol.asyncDispose]()
  expect(held.destroyed).toBe(false)
  held.destroy()
})

test('row 38: a client that goes away in the middle of a body gives its tunnel back', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 1 } })
  const { up } = await armed(world, () => undefined)
  const socket = await world.tunnel(host, up.port)
  socket.write(
    `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`,
  )
  await expect.poll(() => up.seen.length).toBe(1)
  socket.destroy()
  await until(async () => (await world.events('egress.allowed', 0)).length === 1)
  expect((await world.outcome())['failure']).toBe('client_closed')
  await until(async () => await world.tunnel(host, up.port).then(Boolean, () => false), 8_000)
})

test.each(['http/1.1', 'h2'])(
  'row 38: a client of %s that goes away before its body is held back gives its place back',
  async (protocol) => {
    const waiting: (() => void)[] = []
    await using world = await makeWorld({
      limits: { requestsPerPrincipal: 2 },
      resolve: async () => {
        await new Promise<void>((resolve) => waiting.push(resolve))
        return ['93.184.215.14']
      },
      dial: (to) => systemDial({ ...to, address: '127.0.0.1' }),
    })
    const into = [{ credential: 'ORDERS_KEY', into: 'body:/key' }]
    const { up } = await armed(world, (_req, res) => res.end('fine'), { inject: into } as never)
    await world.setRules([{ host, port: up.port, methods: ['POST'], paths: ['/'], inject: into }])
    const head = `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n`
    const sockets: TLSSocket[] = []
    for (let i = 0; i < 2; i += 1) {
      const socket = await world.tunnel(host, up.port, { protocols: [protocol] })
      sockets.push(socket)
      if (protocol === 'http/1.1') socket.write(head)
      else {
        const client = http2Client(socket)
        const stream = client.request({
          ':method': 'POST',
          ':scheme': 'https',
          ':authority': `${host}:${up.port}`,
          ':path': '/',
          'content-type': 'application/json',
        })
        stream.on('error', () => undefined)
      }
    }
    await until(() => waiting.length > 0)
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => setTimeout(resolve, 300))
    for (const go of waiting.splice(0)) go()
    const said = await sayAndRead(await world.tunnel(host, up.port), `${head}{}`)
    expect(said).toContain('200 OK')
  },
)

test('row 38: a client of HTTP/2 that goes away, with or without a request under way, gives its tunnel and its requests back', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 1, requestsPerPrincipal: 1 } })
  await using up = await startHttp2Upstream(world.upstreamContext, () => undefined)
  await world.setRules([rule(host, up.port)])
  // That somebody has gone is known a moment later.
  const open = async () => {
    let socket: TLSSocket | undefined
    await until(async () => {
      socket = await world.tunnel(host, up.port, { protocols: ['h2'] }).catch(() => undefined)
      return socket !== undefined
    }, 2_000)
    return socket as TLSSocket
  }
  ;(await open()).destroy()
  ;(await open()).end()
  const headers = headerBlock(pseudoHeaders(host, up.port))
  for (const leave of ['destroy', 'end'] as const) {
    const socket = await open()
    socket.write(Buffer.concat([preface, frame(frameType.headers, 5, 1, headers)]))
    const before = up.seen.length
    await expect.poll(() => up.seen.length).toBe(before + 1)
    socket[leave]()
    expect(await world.events('egress.allowed', before + 1)).toHaveLength(before + 1)
    expect((await world.outcome())['failure']).toBe('client_closed')
  }
  const refused = (await world.events('egress.denied', 0)).map(({ data }) => data['reason'])
  expect(refused).not.toContain('http2_abuse')
})

test.each([
  ['goes away', ''],
  ['asks for an upgrade', 'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'],
  ['asks for a tunnel', 'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
])(
  'row 38: of requests behind one another the first is given up when their client %s, and no other is begun',
  async (_, last) => {
    await using world = await makeWorld()
    const { up } = await armed(world, () => undefined)
    const socket = await world.tunnel(host, up.port)
    socket.write(request(host, up.port, '/').repeat(3))
    await expect.poll(() => up.seen.length).toBe(1)
    if (last === '') socket.destroy()
    else socket.write(last)
    const ended = async () => {
      const events = await world.events()
      const outcomes = events.map(({ data }) => (data['outcome'] ?? data) as Record<string, unknown>)
      return outcomes.filter(({ failure }) => failure === 'client_closed').length
    }
    await expect.poll(ended, { timeout: 4_000 }).toBe(1)
    expect(up.seen).toHaveLength(1)
  },
)

/** A client by HTTP/2 whose request has come, and the end that its upstream has of that. */
async function asking(world: World) {
  const { promise, resolve } = Promise.withResolvers<ServerHttp2Stream>()
  const up = await startHttp2Upstream(world.upstreamContext, resolve)
  await world.setRules([rule(host, up.port)])
  const client = await world.tunnel(host, up.port, { protocols: ['h2'] })
  const ask = frame(frameType.headers, 5, 1, headerBlock(pseudoHeaders(host, up.port)))
  client.write(Buffer.concat([preface, ask]))
  return { up, client, stream: await promise }
}
const goodbye = frame(frameType.goaway, 0, 0, Buffer.alloc(8))

test('row 38: a client by HTTP/2 that says goodbye gets what it asked for before, and its connection ends behind that', async () => {
  await using world = await makeWorld()
  const { up, client, stream } = await asking(world)
  await using _ = up
  const frames = readFrames(client)
  // The answer to a ping is behind the goodbye.
  client.write(Buffer.concat([goodbye, frame(frameType.ping, 0, 0, Buffer.alloc(8))]))
  await until(() => frames.some(({ type }) => type === frameType.ping))
  stream.respond({ ':status': 200 })
  stream.end('whole')
  await until(() => client.destroyed)
  expect(frames.map(({ payload }) => payload.toString())).toContain('whole')
  expect(await world.outcome()).toMatchObject({ failure: null })
})

test('row 38: a client by HTTP/2 that says what is no frame behind its goodbye is let go', async () => {
  await using world = await makeWorld()
  const { up, client, stream } = await asking(world)
  await using _ = up
  client.write(Buffer.concat([goodbye, Buffer.from('HTTP/1.1 200 OK\r\n\r\n')]))
  await until(() => stream.destroyed)
  expect(await world.outcome()).toMatchObject({ failure: 'client_closed' })
  expect(await world.events('egress.denied')).toMatchObject([{ data: { reason: 'http2_abuse' } }])
})

test('row 38: a client by HTTP/2 that says goodbye again and again, with a request under way, loses its tunnel', async () => {
  await using world = await makeWorld()
  const { up, client, stream } = await asking(world)
  await using _ = up
  client.resume()
  client.write(Buffer.concat(Array<Buffer>(20_000).fill(goodbye)))
  await until(() => client.destroyed && stream.destroyed)
  const denied = await world.events('egress.denied')
  expect(denied.map(({ data }) => data['reason'])).toEqual(['http2_abuse'])
})

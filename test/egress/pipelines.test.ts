import { expect, test } from 'vitest'
import { listenTo } from '../support/armed.ts'
import { basic, makeWorld, request, rule, type World } from '../support/egress-world.ts'
import { ask as askStream, http2Client, pseudoHeaders } from '../support/http2.ts'
import { until } from '../support/until.ts'

/** Several requests by HTTP/1.1 on one connection, none of which waits for the answer to the one before. */

const host = 'orders.example.com'

/** How requests get to an upstream: in a tunnel, and by plain http on a connection to the proxy itself. */
const ways = {
  'in a tunnel': async (world: World, handle: Parameters<World['upstream']>[0]) => {
    const up = await world.upstream(handle)
    await world.setRules([rule(host, up.port, { paths: ['/ok'] })])
    return {
      up,
      connect: () => world.tunnel(host, up.port),
      ask: (path: string, method?: string, body?: string, extra: string[] = []) =>
        request(host, up.port, path, extra, method, body),
    }
  },
  'at the proxy itself': async (world: World, handle: Parameters<World['upstream']>[0]) => {
    const up = await world.upstream(handle, 'http')
    await world.setRules([rule(host, up.port, { scheme: 'http', paths: ['/ok'] })])
    const authorization = `Proxy-Authorization: ${basic('orders', world.lease)}`
    return {
      up,
      connect: () => world.connect(),
      ask: (path: string, method?: string, body?: string, extra: string[] = []) =>
        request(host, up.port, `http://${host}:${up.port}${path}`, [authorization, ...extra], method, body),
    }
  },
}
const names = Object.keys(ways) as (keyof typeof ways)[]

test.each(names)('requests on one connection go out one after the other, in their order: %s', async (way) => {
  await using world = await makeWorld({ limits: { requestsPerPrincipal: 1 } })
  const seen: string[] = []
  const { connect, ask } = await ways[way](world, (req, res) => {
    seen.push(`begins ${req.url}`)
    req.resume().on('end', () =>
      setTimeout(() => {
        seen.push(`ends ${req.url}`)
        res.end(`answer to ${req.url}`)
      }, 30),
    )
  })
  const socket = await connect()
  const heard = listenTo(socket)
  const paths = ['/ok/1', '/ok/2', '/ok/3', '/ok/4']
  socket.write(paths.map((path, i) => (i === 3 ? ask(path) : ask(path, 'POST', 'a body'))).join(''))
  await until(() => heard.text.includes('answer to /ok/4'))
  expect(seen).toEqual(paths.flatMap((path) => [`begins ${path}`, `ends ${path}`]))
  expect(heard.text.match(/answer to \S+?\d/g)).toEqual(paths.map((path) => `answer to ${path}`))
  expect(heard.closed).toBe(false)
})

test.each(names)(
  'of more requests at once than a connection is owed, the last that is answered says so: %s',
  async (way) => {
    await using world = await makeWorld()
    const { up, connect, ask } = await ways[way](world, (req, res) => {
      setTimeout(() => res.end('ok'), req.url === '/ok/slow' ? 500 : 0)
    })
    for (const [path, status] of [
      ['/ok', '200'],
      ['/refused', '403'],
    ] as const) {
      const socket = await connect()
      const heard = listenTo(socket)
      const answers = () => heard.text.match(/HTTP\/1\.1 \d+/g) ?? []
      socket.write(ask(path).repeat(50))
      await until(() => answers().length === 50)
      expect(heard.text).not.toMatch(/connection: close/i)
      heard.text = ''
      // Until it is answered the others are owed with it.
      socket.write(ask('/ok/slow') + ask(path).repeat(300))
      await until(() => heard.closed)
      expect(answers()).toEqual(['HTTP/1.1 200', ...Array<string>(63).fill(`HTTP/1.1 ${status}`)])
      expect(heard.text.match(/connection: close/gi)).toHaveLength(1)
    }
    expect(up.seen).toHaveLength(115)
    const reasons = (await world.events('egress.denied', 113)).map(({ data }) => data['reason'])
    expect(reasons).toEqual(Array(113).fill('path_not_allowed'))
  },
)

test.each(names)('more than anybody asks for at once only ends the connection: %s', async (way) => {
  await using world = await makeWorld()
  const { up, connect, ask } = await ways[way](world, () => undefined)
  const socket = await connect()
  const heard = listenTo(socket)
  socket.write(ask('/ok').repeat(1_000))
  await until(() => heard.closed)
  expect(heard.text).toBe('')
  expect(up.seen.length).toBeLessThanOrEqual(1)
})

test.each(names)('what stands behind a request to close takes nothing from the answers: %s', async (way) => {
  await using world = await makeWorld()
  const { up, connect, ask } = await ways[way](world, (req, res) =>
    req.resume().on('end', () => setTimeout(() => res.end(`answer to ${req.url}`), 30)),
  )
  const closing = ask('/ok/2').replace('\r\n', '\r\nConnection: close\r\n')
  for (const behind of [ask('/ok/3'), 'no request\r\n\r\n', '\0']) {
    const socket = await connect()
    const heard = listenTo(socket)
    socket.write(ask('/ok/1', 'POST', 'a body') + closing + behind)
    await until(() => heard.closed)
    expect(heard.text.match(/HTTP\/1\.1 \d+|answer to \S+?\d/g)).toEqual(
      ['/ok/1', '/ok/2'].flatMap((path) => ['HTTP/1.1 200', `answer to ${path}`]),
    )
  }
  expect(new Set(up.seen.map(({ url }) => url))).toEqual(new Set(['/ok/1', '/ok/2']))
})

test('behind what asks to change the protocol nothing is taken for a request at the proxy itself', async () => {
  await using world = await makeWorld()
  const { up, connect, ask } = await ways['at the proxy itself'](world, (_req, res) => res.end('ok'))
  const upgrade = ask('/ok/2').replace('\r\n', '\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n')
  const hidden = ask('/ok/hidden')
  const upload = ask('/ok/3', 'POST', hidden)
  const cut = upload.length - hidden.length
  for (const pieces of [
    [ask('/ok/1') + upgrade + ask('/ok/3')],
    [ask('/ok/1') + upgrade + upload.slice(0, cut), hidden],
  ]) {
    const socket = await connect()
    const heard = listenTo(socket)
    for (const piece of pieces) {
      socket.write(piece)
      // A piece is read by itself.
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await until(() => heard.closed)
    expect(heard.text.match(/HTTP\/1\.1 \d+|connection: close|denied: upgrade_unsupported/gi)).toEqual([
      'HTTP/1.1 200',
      'HTTP/1.1 400',
      'denied: upgrade_unsupported',
      'Connection: close',
    ])
  }
  expect(up.seen.map(({ url }) => url)).toEqual(['/ok/1', '/ok/1'])
})

test.each(names)(
  'a client that reads only when it has sent all still reads that it was refused: %s',
  async (way) => {
    await using world = await makeWorld()
    const { up, connect, ask } = await ways[way](world, (_req, res) => res.writeHead(413).end('too large'))
    for (const [path, status] of [
      ['/refused', '403'],
      ['/ok', '413'],
    ] as const) {
      const socket = await connect()
      // Larger than all buffers on the way.
      const upload = ask(path, 'POST', 'x'.repeat(4_000_000))
      await new Promise<void>((resolve, reject) =>
        socket.write(upload + ask('/ok/behind'), (err) => (err ? reject(err) : resolve())),
      )
      const heard = listenTo(socket)
      await until(() => heard.closed)
      expect(heard.text.match(/HTTP\/1\.1 \d+/g)).toEqual([`HTTP/1.1 ${status}`])
    }
    expect(up.seen.map(({ url }) => url)).toEqual(['/ok'])
  },
)

test('behind an answer that came before all was sent no WebSocket is opened', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.writeHead(413).end('too large'))
  let opened = 0
  up.onUpgrade((socket) => {
    opened += 1
    socket.destroy()
  })
  await world.setRules([rule(host, up.port, { methods: ['POST', 'WEBSOCKET'] })])
  const socket = await world.tunnel(host, up.port)
  const heard = listenTo(socket)
  const handshake = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
  socket.write(request(host, up.port, '/', [], 'POST', 'x'.repeat(4_000_000)))
  socket.write(request(host, up.port, '/', [...handshake, key]))
  await until(() => heard.closed)
  expect(heard.text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 413'])
  expect(await world.events('egress.allowed')).toHaveLength(1)
  expect(opened).toBe(0)
})

test.each(names)(
  'and so it reads where it did not wait to be told to send a body, whatever it sends behind that: %s',
  async (way) => {
    await using world = await makeWorld()
    const { up, connect, ask } = await ways[way](world, (_req, res) => res.end('ok'))
    const socket = await connect()
    const asked = ask('/refused', 'POST', 'x', ['Expect: 100-continue'])
    await new Promise<void>((resolve, reject) =>
      socket.write(asked + ask('/ok/behind', 'POST', 'x'.repeat(4_000_000)), (err) =>
        err ? reject(err) : resolve(),
      ),
    )
    const heard = listenTo(socket)
    await until(() => heard.closed)
    expect(heard.text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 403'])
    expect(up.seen).toEqual([])
  },
)

test('a client that reads slowly may ask for more meanwhile, in records that come together', async () => {
  await using world = await makeWorld()
  const { up, connect } = await ways['in a tunnel'](world, (req, res) =>
    res.end(req.url === '/ok/long' ? Buffer.alloc(3_000_000, 'x') : 'ok'),
  )
  const socket = await connect()
  socket.pause()
  socket.write(request(host, up.port, '/ok/long'))
  // By now the proxy may write no more.
  await new Promise((resolve) => setTimeout(resolve, 500))
  // TLS makes three records of it.
  socket.write(request(host, up.port, '/ok', [`Padding: ${'p'.repeat(2_000)}`]).repeat(20))
  await new Promise((resolve) => setTimeout(resolve, 200))
  const heard = listenTo(socket)
  socket.resume()
  await until(() => heard.closed || (heard.text.match(/HTTP\/1\.1 200/g) ?? []).length === 21)
  expect(heard.closed).toBe(false)
  expect(up.seen).toHaveLength(21)
})

test('who asks for more in a minute than is theirs gets no more of this connection, by either version', async () => {
  await using world = await makeWorld({ limits: { requestsPerMinutePerPrincipal: 10 } })
  const { up, connect, ask } = await ways['in a tunnel'](world, (_req, res) => res.end('ok'))
  const socket = await connect()
  const heard = listenTo(socket)
  socket.write(ask('/ok').repeat(30))
  await until(() => heard.closed)
  const answers = heard.text.match(/HTTP\/1\.1 \d+/g) ?? []
  expect(answers).toEqual([...Array(9).fill('HTTP/1.1 200'), 'HTTP/1.1 429'])
  expect(heard.text).toMatch(/429 [^]*connection: close/i)

  const other = await world.addLease({})
  const { port } = up
  const secured = await world.tunnel(host, port, { lease: other.lease, protocols: ['h2'] })
  const client = http2Client(secured)
  let farewell: number | undefined
  client.once('goaway', (code: number) => (farewell = code))
  const fields = Object.fromEntries(pseudoHeaders(host, port, 'GET', '/ok'))
  const streams = await Promise.all(Array.from({ length: 12 }, () => askStream(client, fields)))
  // Behind the farewell nothing is begun.
  const statuses = new Set(streams.slice(0, 10).map(({ status }) => status))
  expect(statuses).toEqual(new Set([200, 429]))
  await until(() => client.destroyed)
  expect(farewell).toBe(0)
})

import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { giveBackMemory } from '../../../src/egress/index.ts'
import { host, listenTo } from '../../support/armed.ts'
import {
  basic,
  connectRequest,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../../support/egress-world.ts'
import { until } from '../../support/until.ts'

/** What comes behind a request that has no whole answer yet: no byte of the proxy's own gets into that answer. */

const refused = /HTTP\/1\.1 4\d\d|x-toolcrib-denied/

/** Upstreams in a tunnel and by plain http, which begin an answer and never end it; `/mute` they do not even begin. */
async function unending(world: World) {
  const begin: Parameters<World['upstream']>[0] = (req, res) => {
    req.on('data', () => undefined)
    if (req.url !== '/mute') res.write('begun')
  }
  const secure = await world.upstream(begin)
  const plain = await world.upstream(begin, 'http')
  await world.setRules([rule(host, secure.port), rule(host, plain.port, { scheme: 'http' })])
  const authorization = `Proxy-Authorization: ${basic('orders', world.lease)}`
  const byPlain = (path: string, extra: string[] = [], method = 'GET') =>
    request(host, plain.port, `http://${host}:${plain.port}${path}`, [authorization, ...extra], method)
  const inTunnel = (path: string, extra: string[] = [], method = 'GET') =>
    request(host, secure.port, path, extra, method)
  const ways: [string, () => Promise<Socket>, typeof inTunnel][] = [
    ['in a tunnel', () => world.tunnel(host, secure.port), inTunnel],
    ['at the proxy itself', () => world.connect(), byPlain],
  ]
  return { ways, secure, plain }
}

/** What is heard when `later` comes behind `first`, whose answer has begun where it ever does; until the end. */
async function heardBehind(connect: () => Promise<Socket>, first: string, later: string): Promise<string> {
  const socket = await connect()
  const heard = listenTo(socket)
  socket.write(first)
  if (!first.includes('/ ')) await new Promise((resolve) => setTimeout(resolve, 200))
  else await until(() => heard.text.includes('begun'))
  socket.write(later)
  await until(() => heard.closed)
  return heard.text
}

/** How many requests were let out and ended because their client was gone. */
async function clientClosed(world: World): Promise<number> {
  const events = await world.events()
  const outcomes = events.map(({ data }) => (data['outcome'] ?? data) as Record<string, unknown>)
  return outcomes.filter(({ failure }) => failure === 'client_closed').length
}

test('rows 20 and 38: a slow head and bytes that are no request, behind an answer under way, end the connection without a word', async () => {
  await using world = await makeWorld({ limits: { headersTimeoutMs: 300 } })
  const { ways } = await unending(world)
  for (const [where, connect, ask] of ways) {
    for (const later of ['GET / HTTP/1.1\r\nx: y\r\n', 'no request\r\n\r\n']) {
      expect([where, later, await heardBehind(connect, ask('/').repeat(3), later)]).toEqual([
        where,
        later,
        expect.stringMatching(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n5\r\nbegun\r\n$/),
      ])
      // Nor is it taken for the answer to a request that may have been acted on.
      expect([where, later, await heardBehind(connect, ask('/mute'), later)]).toEqual([where, later, ''])
    }
  }
  // At the proxy itself nobody can be told from it to record it of.
  const denied = (await world.events('egress.denied', 4)).map(({ data }) => String(data['reason']))
  expect(denied.toSorted()).toEqual(['head_timeout', 'head_timeout', 'parse_error', 'parse_error'])
  // Every request that was let out is given up; those that waited for their turn never were.
  await expect.poll(() => clientClosed(world), { timeout: 4_000 }).toBe(8)
})

test('row 20: a body that breaks is refused while its request has no answer, and once it has one only ends it', async () => {
  await using world = await makeWorld()
  const { ways } = await unending(world)
  for (const [where, connect, ask] of ways) {
    const chunked = (path: string) => ask(path, ['Transfer-Encoding: chunked'], 'POST')
    expect([where, await heardBehind(connect, `${chunked('/')}3\r\nabc\r\n`, 'zz\r\n')]).toEqual([
      where,
      expect.not.stringMatching(refused),
    ])
    expect([where, await heardBehind(connect, `${chunked('/mute')}3\r\nabc\r\n`, 'zz\r\n')]).toEqual([
      where,
      expect.stringMatching(/^HTTP\/1\.1 400 [^]*parse_error/),
    ])
    expect([where, await heardBehind(connect, `${ask('/mute')}${chunked('/mute')}`, 'zz\r\n')]).toEqual([
      where,
      '',
    ])
  }
})

test('row 23: CONNECT behind a request without its answer opens nothing, says nothing, and ends that connection', async () => {
  await using world = await makeWorld()
  const { ways, secure, plain } = await unending(world)
  const [, [, connect, ask]] = ways as [(typeof ways)[0], (typeof ways)[0]]
  const lease = world.lease
  const tunnels: [string, string][] = [
    ['tunnel_behind_request', connectRequest(host, secure.port, 'orders', lease)],
    ['tunnel_behind_request', connectRequest('elsewhere.example.com', 443, 'orders', lease)],
    ['lease_invalid', connectRequest(host, secure.port, 'orders', 'guessed')],
    [
      'port_missing',
      'CONNECT x HTTP/1.1\r\nHost: x\r\nProxy-Authorization: ' + basic('orders', lease) + '\r\n\r\n',
    ],
  ]
  for (const [, tunnel] of tunnels) {
    expect(await heardBehind(connect, ask('/').repeat(2), tunnel)).toMatch(
      /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n5\r\nbegun\r\n$/,
    )
    expect(await heardBehind(connect, ask('/mute').repeat(2), tunnel)).toBe('')
    // In one write, before anything is decided about the first.
    expect(await heardBehind(connect, '', ask('/mute') + tunnel)).toBe('')
  }
  const denied = (await world.events('egress.denied', 12)).map(({ data }) => data['reason'])
  expect(denied).toEqual(tunnels.flatMap(([reason]) => Array(3).fill(reason)))
  await expect.poll(() => clientClosed(world), { timeout: 4_000 }).toBe(plain.seen.length)
  expect(secure.seen).toEqual([])
  // Once the answer is whole the connection is free for anything.
  const whole = await world.upstream((_req, res) => res.end('whole'), 'http')
  await world.setRules([rule(host, secure.port), rule(host, whole.port, { scheme: 'http' })])
  const socket = await world.connect()
  const authorization = `Proxy-Authorization: ${basic('orders', lease)}`
  expect(
    await sayAndRead(socket, request(host, whole.port, `http://${host}:${whole.port}/`, [authorization])),
  ).toContain('whole')
  expect(await sayAndRead(socket, connectRequest(host, secure.port, 'orders', lease))).toMatch(
    /^HTTP\/1\.1 200 Connection Established/,
  )
})

test('row 23: an upgrade at the proxy itself is refused in its turn, behind the answer that was due before', async () => {
  await using world = await makeWorld()
  const plain = await world.upstream((_req, res) => {
    res.write('begun')
    setTimeout(() => res.end('whole'), 200)
  }, 'http')
  await world.setRules([rule(host, plain.port, { scheme: 'http' })])
  const authorization = `Proxy-Authorization: ${basic('orders', world.lease)}`
  const ask = (extra: string[] = []) =>
    request(host, plain.port, `http://${host}:${plain.port}/`, [authorization, ...extra])
  const socket = await world.connect()
  const heard = listenTo(socket)
  socket.write(ask() + ask(['Upgrade: websocket', 'Connection: Upgrade']))
  await until(() => heard.text.includes('upgrade_unsupported'))
  expect(heard.text).toMatch(
    /^HTTP\/1\.1 200 OK\r\n[^]*\r\n5\r\nbegun\r\n5\r\nwhole\r\n0\r\n\r\nHTTP\/1\.1 400 upgrade_unsupported: /,
  )
  expect(plain.seen).toHaveLength(1)
})

/** What is in use of memory, in bytes. */
function used(): number {
  giveBackMemory()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test('row 38: heads of thousands of fields behind a request without its answer are not kept, and the connection ends with the last that is', async () => {
  await using world = await makeWorld()
  const { ways, secure, plain } = await unending(world)
  for (const [way, connect, ask] of ways) {
    const socket = await connect()
    const heard = listenTo(socket)
    socket.write(ask('/mute'))
    await until(() => secure.seen.length + plain.seen.length > 0)
    const before = used()
    const head = ask(
      '/behind',
      Array.from({ length: 4_000 }, (_, n) => `${(1_296 + n).toString(36)}:`),
    )
    for (let n = 0; n < 60; n += 1) {
      socket.write(head)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    // They are read as far as the share of their person goes.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    // Each took a third of a megabyte and more.
    expect([way, Math.round((used() - before) / 1024 / 1024)]).toEqual([
      way,
      expect.toSatisfy((megabytes) => megabytes < 6),
    ])
    expect(heard).toMatchObject({ text: '', closed: false })
    socket.destroy()
    secure.seen.length = 0
    plain.seen.length = 0
  }
})

import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { armed, host } from '../support/armed.ts'
import { connectRequest, makeWorld, request, rule, sayAndRead, type World } from '../support/egress-world.ts'

/** Clients that break off are refused nothing: no record says that they were, and no person reads it. */

const pinned = 'pinned.example.com'
const chunked = (port: number) =>
  `POST / HTTP/1.1\r\nHost: ${host}:${port}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`

async function overTcp(world: World): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: world.egress.tcpPort ?? 0 })
  socket.on('error', () => undefined)
  await new Promise((resolve) => socket.once('connect', resolve))
  return socket
}

test('a client that resets its connection, or leaves in a body, is recorded as gone and not as refused', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, () => undefined)
  await world.setRules([
    rule(host, up.port),
    { host: pinned, port: up.port, intercept: false, address: '127.0.0.1' },
  ])
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  const connected = async (name: string) => {
    const socket = await overTcp(world)
    const said = await sayAndRead(socket, connectRequest(name, up.port, 'orders', lease))
    expect(said).toMatch(/^HTTP\/1\.1 200/)
    return socket
  }
  const asking = async (text: string) => {
    const socket = await connected(host)
    const secured = connectTls({ socket, servername: host, ca: world.ca, ALPNProtocols: ['http/1.1'] })
    secured.on('error', () => undefined)
    const before = up.seen.length
    secured.write(text)
    await expect.poll(() => up.seen.length).toBe(before + 1)
    return { socket, secured }
  }
  // The proxy reads this once the connection has gone, and with it the address that it came from.
  const atOnce = await overTcp(world)
  atOnce.write(connectRequest(host, up.port, 'orders', lease))
  atOnce.resetAndDestroy()
  for (const name of [host, pinned]) (await connected(name)).resetAndDestroy()
  for (const text of [request(host, up.port, '/'), chunked(up.port)])
    (await asking(text)).socket.resetAndDestroy()
  ;(await asking(chunked(up.port))).secured.destroy()

  const outcomes = async () =>
    (await world.events()).map(({ data }) => (data['outcome'] ?? data) as Record<string, unknown>)
  const gone = async () => (await outcomes()).filter(({ failure }) => failure === 'client_closed').length
  await expect.poll(gone).toBe(3)
  const last = await overTcp(world)
  await sayAndRead(last, connectRequest('nowhere.example.com', 443, 'orders', lease))
  last.destroy()
  const denied = await world.events('egress.denied')
  expect(denied.map(({ data }) => data['reason'])).toEqual(['host_not_allowed'])
})

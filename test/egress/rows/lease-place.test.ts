import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import {
  basic,
  connectRequest,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../../support/egress-world.ts'

const host = 'orders.example.com'

async function over(world: World, localAddress: string): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: world.egress.tcpPort ?? 0, localAddress })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return socket
}

test('rows 2 and 37: a lease is good from its own sandbox’s address, and a stolen one from nowhere else', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'), 'http')
  await world.setRules([{ ...rule(host, up.port), scheme: 'http' }, rule(host, 8443)])
  const ask = async (socket: Socket, lease: string) => {
    const head = request(host, up.port, `http://${host}:${up.port}/`, [
      `Proxy-Authorization: ${basic('orders', lease)}`,
    ])
    const answer = await sayAndRead(socket, head)
    socket.destroy()
    return answer
  }
  const tunnel = async (socket: Socket, lease: string) => {
    const answer = await sayAndRead(socket, connectRequest(host, 8443, 'orders', lease))
    socket.destroy()
    return answer
  }
  const theirs = (await world.addLease({ from: '127.0.0.2' })).lease

  expect(await ask(await over(world, '127.0.0.2'), theirs)).toContain('ok')
  expect(await tunnel(await over(world, '127.0.0.2'), theirs)).toMatch(/^HTTP\/1\.1 200/)
  // Another pod, the proxy's own machine, and a pod that holds what was meant for a socket.
  for (const [socket, lease] of [
    [await over(world, '127.0.0.1'), theirs],
    [await world.connect(), theirs],
    [await over(world, '127.0.0.1'), world.lease],
  ] as const)
    expect(await ask(socket, lease)).toMatch(/^HTTP\/1\.1 403 [\s\S]*"reason":"lease_elsewhere"/)
  expect(await tunnel(await over(world, '127.0.0.3'), theirs)).toContain('lease_elsewhere')
  expect(up.seen).toHaveLength(1)
  const denied = await world.events('egress.denied', 4)
  expect(denied.map(({ data }) => data['reason'])).toEqual(Array.from({ length: 4 }, () => 'lease_elsewhere'))
})

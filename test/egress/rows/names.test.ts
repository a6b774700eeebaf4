import { expect, test } from 'vitest'
import { sourceSpec } from '../../../src/catalog/index.ts'
import { armed, deniedAs, host, listenTo } from '../../support/armed.ts'
import { clientHello } from '../../support/client-hello.ts'
import {
  basic,
  connectRequest,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../../support/egress-world.ts'

/** Spellings of hosts and names that look like allowed ones: one spelling is let through, and only its letters' case is folded. */

async function refusedEverywhere(world: World, port: number, names: readonly string[]) {
  for (const each of names) {
    // As its bytes stand on the wire.
    const name = Buffer.from(each, 'utf8').toString('latin1')
    const connected = await sayAndRead(
      await world.connect(),
      connectRequest(name, port, 'orders', world.lease),
    )
    const auth = `Proxy-Authorization: ${basic('orders', world.lease)}`
    const plain = `GET http://${name}:${port}/ HTTP/1.1\r\nHost: ${name}:${port}\r\n${auth}\r\n\r\n`
    const forwarded = await sayAndRead(await world.connect(), plain)
    const inner = await sayAndRead(await world.tunnel(host, port), request(name, port, '/'))
    const seen = [name, ...[connected, forwarded, inner].map(deniedAs)]
    const no = expect.stringMatching(
      /^(?:host_malformed|host_not_allowed|host_mismatch|userinfo_forbidden|target_malformed|path_malformed|parse_error|port_missing)$/,
    )
    expect(seen).toEqual([name, no, no, no])
  }
}

test('row 28: a NUL in a name ends nothing: not in CONNECT, not in Host, not in SOCKS, not in the server name', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  await refusedEverywhere(world, up.port, [
    `evil.example.net\0.${host}`,
    `${host}\0.evil.example.net`,
    `evil.example.net%00.${host}`,
  ])
  const domain = Buffer.from(`evil.example.net\0.${host}`)
  const socks = Buffer.concat([
    Buffer.from([5, 1, 0, 5, 1, 0, 3, domain.length]),
    domain,
    Buffer.from([1, 187]),
  ])
  expect(await sayAndRead(await world.connect(), socks.toString('latin1'))).toMatch(/^HTTP\/1\.1 400|^$/)
  for (const name of [`${host}\0.evil.example.net`, `evil.example.net\0.${host}`, `${host}\0`, host]) {
    const socket = await world.connect()
    await sayAndRead(socket, connectRequest(host, up.port, 'orders', world.lease))
    const heard = listenTo(socket)
    socket.write(await clientHello(name))
    // The plain name is answered with the rest of a handshake; every other with an alert and the end.
    await expect.poll(() => (name === host ? heard.text.startsWith('\x16\x03') : heard.closed)).toBe(true)
    expect(heard.text.includes('\x16\x03')).toBe(name === host)
  }
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test('row 29: no other spelling of an allowed host is let through, nor any of an address', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  const spellings = [
    `${host}.`,
    `${host}..`,
    `.${host}`,
    'orders..example.com',
    '%6Frders.example.com',
    'ord%65rs.example.com',
    'orders\u3002example.com',
    'orders\uff0eexample.com',
    '\uff4frders.example.com',
    '\u043erders.example.com',
    'ord\u0435rs.example.com',
    'orders\u00ad.example.com',
    'xn--rders-fze.example.com',
    'xn--orders-.example.com',
    'or_ders.example.com',
    'orders.example.com%20',
    `x@${host}`,
    `${host}:443.evil.example.net`,
    `evil.example.net#${host}`,
    `evil.example.net/.${host}`,
    `evil.example.net\\.${host}`,
    `evil.example.net?.${host}`,
    '[::ffff:1.2.3.4%x.example.com]',
    '[orders.example.com]',
    '-orders.example.com',
  ]
  await refusedEverywhere(world, up.port, spellings)
  const addresses = [
    '127.0.0.1',
    '0177.0.0.1',
    '0x7f000001',
    '0x7f.1',
    '2130706433',
    '017700000001',
    '127.1',
    '127.0.1',
  ]
  addresses.push(
    '127.0.0.1.',
    '\u2460\u2461\u2466.0.0.1',
    '[::1]',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '::1',
  )
  await refusedEverywhere(world, up.port, addresses)
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test('row 30: a rule means one name: not what is below it, above it, or looks like it', async () => {
  await using world = await makeWorld()
  const { up } = await armed(world, (_req, res) => res.end('ok'))
  await refusedEverywhere(world, up.port, [
    'a.orders.example.com',
    'example.com',
    'com',
    'evilorders.example.com',
    'orders-example.com',
    'ordersXexample.com',
    'orders.example.com.evil.example.net',
    'orders.example.comm',
    'orders.example.co',
    '*.example.com',
    '*',
  ])
  expect(world.dialled).toEqual([])
})

test('row 30: no rule can hold a wildcard, an address or an unfinished name; it is refused when it is written, and leads nowhere', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const hosts = [
    '*',
    '*.example.com',
    'api.*.com',
    '*.com',
    '*.co.uk',
    'a*.example.com',
    '.example.com',
    'example.com.',
  ]
  hosts.push(
    'EXAMPLE.com',
    'localhost',
    'com',
    '127.0.0.1',
    '10.0.0.0/8',
    '[::1]',
    '2130706433',
    '/api/',
    'ex_ample.com',
    'm\u00fcnchen.de',
  )
  for (const name of hosts) {
    const parsed = sourceSpec.safeParse({ kind: 'stdio', command: 'x', egress: [rule(name, up.port)] })
    expect([name, parsed.success]).toEqual([name, false])
  }
  // Written past the check, such a rule, and with it its source, is as if it were not there.
  await world.setRules([rule(host, up.port), rule('*.example.com', up.port)])
  await expect(world.tunnel(host, up.port)).rejects.toThrow('host_not_allowed')
  await expect(world.tunnel('a.example.com', up.port)).rejects.toThrow('host_not_allowed')
  expect(world.dialled).toEqual([])
})

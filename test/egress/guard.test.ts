import fc from 'fast-check'
import { expect, test } from 'vitest'
import { classifyAddress } from '../../src/egress/decision/address.ts'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'

const none = new Set<string>()

test('row 31: every address that is not global unicast is refused, with its class', () => {
  const cases: Record<string, string[]> = {
    loopback: ['127.0.0.1', '127.255.0.1', '::1'],
    private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fc00::1', 'fdff::1'],
    link_local: ['169.254.0.1', 'fe80::1', 'febf::1'],
    metadata: [
      '169.254.169.254',
      '169.254.170.2',
      '100.100.100.200',
      '168.63.129.16',
      '192.0.0.192',
      'fd00:ec2::254',
      'fd00:0ec2:0::254',
    ],
    shared: ['100.64.0.1', '100.127.255.255'],
    multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1', '255.255.255.255'],
    unspecified: ['0.0.0.0', '0.1.2.3', '::'],
    reserved: [
      '192.0.0.1',
      '198.18.0.1',
      '240.0.0.1',
      '192.0.2.1',
      '203.0.113.1',
      '2001:db8::1',
      '100::1',
      'fec0::1',
      '5f00::1',
      '3fff::1',
    ],
    embedded: [
      '::ffff:8.8.8.8',
      '::ffff:7f00:1',
      '::127.0.0.1',
      '64:ff9b::7f00:1',
      '64:ff9b:1::1',
      '2002:7f00:1::',
      '2001:0:1::1',
    ],
    malformed: ['0x7f.1', '0177.0.0.1', '127.1', '1.2.3.4%x', '::ffff:1.2.3.4%x.allowed.com', 'x', ''],
  }
  for (const [expected, addresses] of Object.entries(cases)) {
    for (const address of addresses)
      expect([address, classifyAddress(address, none)]).toEqual([address, expected])
  }
  for (const address of ['8.8.8.8', '1.1.1.1', '2606:4700::1111', '2a00:1450:4001::1']) {
    expect([address, classifyAddress(address, none)]).toEqual([address, 'public'])
  }
  expect(classifyAddress('8.8.8.8', new Set(['8.8.8.8']))).toBe('own')
})

test('an IPv6 address outside 2000::/3 is never public', () => {
  const holds = fc.check(
    fc.property(fc.ipV6(), (address) => {
      const first = Number.parseInt(
        new URL(`http://[${address}]/`).hostname.slice(1).split(':')[0] || '0',
        16,
      )
      return (first >= 0x2000 && first <= 0x3fff) || classifyAddress(address, none) !== 'public'
    }),
  )
  expect(holds.counterexample).toBeNull()
})

test('invariant 3: the address that was judged is the one that is dialled, once, with the host as SNI and Host', async () => {
  const refuse = () => Promise.reject(new Error('this dialer connects nowhere'))
  await using world = await makeWorld({ dial: refuse })
  const host = 'api.example.com'
  let lookups = 0
  world.names.get = (name) => {
    lookups += 1
    return name === host ? ['93.184.215.14'] : undefined
  }
  await world.setRules([{ host, methods: ['GET'], paths: ['/'] }])
  const answer = await sayAndRead(await world.tunnel(host, 443), request(host, 443, '/'))
  expect(answer).toContain('upstream_unreachable')
  expect(answer).not.toContain('93.184')
  expect(world.dialled).toEqual([{ address: '93.184.215.14', port: 443 }])
  expect(lookups).toBe(1)
})

test('row 32: one inside address among the answers refuses them all, and the refusal tells no address', async () => {
  await using world = await makeWorld({
    dial: () => Promise.reject(new Error('this dialer connects nowhere')),
  })
  const answers: Record<string, [string[], string]> = {
    'mixed.example.com': [['93.184.215.14', '10.0.0.7'], 'address_private'],
    'meta.example.com': [['169.254.169.254'], 'address_metadata'],
    'loop.example.com': [['127.0.0.1'], 'address_loopback'],
    'nat64.example.com': [['64:ff9b::a9fe:a9fe'], 'address_embedded'],
    'gone.example.com': [[], 'name_unresolved'],
  }
  await world.setRules(Object.keys(answers).map((host) => ({ host, methods: ['GET'], paths: ['/'] })))
  for (const [host, [addresses, reason]] of Object.entries(answers)) {
    world.names.set(host, addresses)
    const answer = await sayAndRead(await world.tunnel(host, 443), request(host, 443, '/'))
    expect(answer).toContain(`"reason":"${reason}"`)
    for (const address of addresses) expect(answer).not.toContain(address)
  }
  expect(world.dialled).toEqual([])
  expect(await world.events('egress.denied', 5)).toHaveLength(5)
})

test('a pinned address is dialled for its own rule only, and never when it is the proxy itself', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const own = world.egress.tcpPort ?? 0
  world.names.set('other.example.com', ['127.0.0.1'])
  await world.setRules([
    rule('a.example.com', up.port),
    { ...rule('other.example.com', up.port), address: undefined },
    rule('self.example.com', own),
  ])
  expect(
    await sayAndRead(await world.tunnel('a.example.com', up.port), request('a.example.com', up.port, '/')),
  ).toContain('ok')
  expect(
    await sayAndRead(
      await world.tunnel('other.example.com', up.port),
      request('other.example.com', up.port, '/'),
    ),
  ).toContain('address_loopback')
  expect(
    await sayAndRead(await world.tunnel('self.example.com', own), request('self.example.com', own, '/')),
  ).toContain('address_own')
  expect(up.seen).toHaveLength(1)
})

import { BlockList, isIPv4 } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  addressRange,
  classifyAddress,
  egressRule,
  parseRanges,
  pinnable,
  sourceSpec,
} from '../../src/catalog/index.ts'
import { addressesByClass } from './rows/addresses.ts'

const around = { own: new Set<string>(), refused: [] }

test('every address that is not global unicast has the class that it is refused for', () => {
  for (const [expected, addresses] of Object.entries(addressesByClass)) {
    for (const address of addresses)
      expect([address, classifyAddress(address, around)]).toEqual([address, expected])
  }
  const malformed = ['0x7f.1', '0177.0.0.1', '127.1', '1.2.3.4%x', '::ffff:1.2.3.4%x.allowed.com', 'x', '']
  for (const address of malformed) expect(classifyAddress(address, around)).toBe('malformed')
  for (const address of ['8.8.8.8', '1.1.1.1', '2606:4700::1111', '2a00:1450:4001::1']) {
    expect([address, classifyAddress(address, around)]).toEqual([address, 'public'])
  }
  expect(classifyAddress('8.8.8.8', { ...around, own: new Set(['8.8.8.8']) })).toBe('own')
})

/**
 * The IANA registries of special-purpose addresses (IPv4, IPv6, multicast) written down a second time: whatever is
 * not globally reachable there, or relays to somewhere else. Compared with a library that is not ours nor the guard's.
 */
// Two lists: one would hold IPv4 against the ranges of IPv6 as well, as mapped addresses.
const special = { ipv4: new BlockList(), ipv6: new BlockList() }
for (const range of [
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24',
  '192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15',
  '198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32',
].flatMap((line) => line.split(' '))) {
  const [network = '', bits] = range.split('/')
  special.ipv4.addSubnet(network, Number(bits), 'ipv4')
}
for (const range of [
  '2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20',
  // All that is not 2000::/3.
  '::/3 4000::/2 8000::/1',
].flatMap((line) => line.split(' '))) {
  const [network = '', bits] = range.split('/')
  special.ipv6.addSubnet(network, Number(bits), 'ipv6')
}

test('what passes as public is exactly what an independent list does not set apart', () => {
  const octet = fc.oneof(
    fc.nat(255),
    fc.constantFrom(0, 10, 63, 64, 88, 99, 100, 127, 168, 169, 192, 198, 224),
  )
  const v4 = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join('.'))
  const group = fc.oneof(
    fc.nat(0xffff),
    fc.constantFrom(0, 1, 2, 0x2001, 0x2002, 0x2620, 0x4f, 0x3fff, 0x64, 0xff9b, 0xdb8, 0xffff),
  )
  const v6 = fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) => {
    const text = groups.map((value) => value.toString(16)).join(':')
    return new URL(`http://[${text}]/`).hostname.slice(1, -1)
  })
  fc.assert(
    fc.property(fc.oneof(v4, v6), (address) => {
      const family = isIPv4(address) ? 'ipv4' : 'ipv6'
      const apart = special[family].check(address, family)
      expect([address, classifyAddress(address, around) === 'public']).toEqual([address, !apart])
    }),
    { numRuns: 5_000 },
  )
})

test('a range of the configuration is refused, and nothing beside it', () => {
  const refused = parseRanges(['34.118.224.0/20', '2a00:1:2::/48'])
  const found = (address: string) => classifyAddress(address, { ...around, refused })
  expect(['34.118.224.1', '34.118.239.255', '2a00:1:2:ffff::1'].map(found)).toEqual([
    'refused',
    'refused',
    'refused',
  ])
  expect(['34.118.223.255', '34.118.240.0', '2a00:1:3::1'].map(found)).toEqual(['public', 'public', 'public'])
})

test('no rule can be an exception for metadata, for multicast, or for an address that carries another', () => {
  const never = Object.keys(addressesByClass).filter(
    (name) => !pinnable(name as keyof typeof addressesByClass),
  )
  expect(never.toSorted()).toEqual(['embedded', 'metadata', 'multicast', 'unspecified'])
})

test('a range that does not start where it says, or is none, is refused when it is written', () => {
  const good = ['10.96.0.0/12', '0.0.0.0/0', '1.2.3.4/32', 'fd00:10:96::/112', '::/0']
  expect(good.filter((range) => !addressRange.safeParse(range).success)).toEqual([])
  const bad = [
    '10.96.0.1/12',
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0/8',
    '10.0.0.0/8/8',
    'fd00::1/64',
  ]
  bad.push(
    'FD00::/8',
    '::ffff:10.0.0.0/104',
    '::ffff:a00:0/104',
    'x/8',
    '/8',
    '',
    '010.0.0.0/8',
    '10.0.0.0/-1',
    'fd00::/129',
  )
  expect(bad.filter((range) => addressRange.safeParse(range).success)).toEqual([])
})

test('row 31: an exception for what no rule can name is refused when it is written, of a token endpoint too', () => {
  const endpoint = { kind: 'oauth_client_credentials', token_url: 'https://auth.example.com/token' }
  const problem = (address: string) => {
    const rule = { host: 'a.example.com', port: 443, methods: ['GET'], paths: ['/'], address }
    const minted = { T: { ...endpoint, address, client_id: 'c', client_secret: 'S' } }
    const inject = [{ credential: 'T', into: 'header:authorization' }]
    const written = { kind: 'stdio', command: 'x', egress: [{ ...rule, inject }], minted }
    const issues = sourceSpec.safeParse(written).error?.issues ?? []
    expect(issues.map(({ path }) => path.join('.'))).toEqual(['egress.0.address', 'minted.T.address'])
    return issues[0]?.message
  }
  for (const address of ['169.254.169.254', '168.63.129.16', 'fd00:ec2::254'])
    expect(problem(address)).toMatch(
      /^no rule can name a metadata address: write the host's own, such as 10\./,
    )
  for (const address of ['224.0.0.1', '255.255.255.255']) expect(problem(address)).toContain('multicast')
  for (const address of ['0.0.0.0', '::']) expect(problem(address)).toContain('an unspecified address')
  for (const address of ['64:ff9b::a00:1', '2002:a9fe:a9fe::1'])
    expect(problem(address)).toMatch(/^it carries an IPv4 address, and no rule can name it: write that one/)
})

test('an exception names one address in its usual form, and its port', () => {
  const rule = { host: 'a.example.com', port: 443, methods: ['GET'], paths: ['/'] }
  const good = ['10.0.0.1', 'fd00::1', '2606:4700::1111', '::1']
  expect(good.filter((address) => !egressRule.safeParse({ ...rule, address }).success)).toEqual([])
  const bad = [
    'FD00::1',
    'fd00:0::1',
    '::ffff:10.0.0.1',
    '::ffff:a00:1',
    '010.0.0.1',
    '10.1',
    '[::1]',
    'fe80::1%1',
    '',
  ]
  expect(bad.filter((address) => egressRule.safeParse({ ...rule, address }).success)).toEqual([])
  const portless = { ...rule, port: undefined, address: '10.0.0.1' }
  const spec = sourceSpec.safeParse({ kind: 'stdio', command: 'x', egress: [portless] })
  expect(spec.error?.issues.map((issue) => issue.message).join()).toContain('name the `port` too')
})

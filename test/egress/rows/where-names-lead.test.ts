import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { silentLog } from '../../../src/core/index.ts'
import { createGuard } from '../../../src/egress/decision/guard.ts'
import type { Dial } from '../../../src/egress/index.ts'
import { pairsOf } from '../../../src/egress/request/fields.ts'
import { systemDial } from '../../../src/egress/upstream/dial.ts'
import { clientHello } from '../../support/client-hello.ts'
import {
  basic,
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import { startNameServer } from '../../support/name-server.ts'
import { addressesByClass } from './addresses.ts'

/** Where names lead, and what is dialled of it. Nothing here is dialled but loopback: other dialers only write down. */
const dialsNothing: Dial = () => Promise.reject(new Error('this dialer connects nowhere'))
const outside = '93.184.215.14'
const open = (host: string) => ({ host, methods: ['GET'], paths: ['/'] })

const ask = async (world: World, host: string, port = 443) =>
  await sayAndRead(await world.tunnel(host, port), request(host, port, '/'))

test('invariant 3: row 31: a name that leads to any address that is not global unicast is refused with its class, undialled', async () => {
  await using world = await makeWorld({ dial: dialsNothing })
  const cases = Object.entries(addressesByClass).flatMap(([name, addresses]) =>
    addresses.map((address, index) => ({
      address,
      reason: `address_${name}`,
      host: `${name.replace('_', '-')}-${index}.example.com`,
    })),
  )
  await world.setRules(cases.map(({ host }) => open(host)))
  for (const { host, address, reason } of cases) {
    world.names.set(host, [address])
    const answer = await ask(world, host)
    expect([address, /"reason":"(\w+)"/.exec(answer)?.[1]]).toEqual([address, reason])
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
    expect(answer).not.toContain(address)
  }
  expect(world.dialled).toEqual([])
  const events = await world.events('egress.denied', cases.length)
  expect(events.map((event) => event.data['reason'])).toEqual(cases.map(({ reason }) => reason))
})

test('row 31: ranges of the configuration are refused, and a rule that names address and port is excepted', async () => {
  await using world = await makeWorld({
    refusedRanges: ['34.118.224.0/20', '2a00:1:2::/48'],
    dial: dialsNothing,
  })
  await world.setRules([
    open('service.example.com'),
    open('six.example.com'),
    open('beside.example.com'),
    { ...open('excepted.example.com'), port: 8443, address: '34.118.224.9' },
  ])
  world.names.set('service.example.com', ['34.118.224.9'])
  world.names.set('six.example.com', ['2a00:1:2::7'])
  world.names.set('beside.example.com', ['34.118.240.1'])
  expect(await ask(world, 'service.example.com')).toContain('"reason":"address_refused"')
  expect(await ask(world, 'six.example.com')).toContain('"reason":"address_refused"')
  expect(world.dialled).toEqual([])
  expect(await ask(world, 'beside.example.com')).toContain('upstream_unreachable')
  expect(await ask(world, 'excepted.example.com', 8443)).toContain('upstream_unreachable')
  await expect(world.tunnel('excepted.example.com', 443)).rejects.toThrow('port_not_allowed')
  expect(world.dialled).toEqual([
    { address: '34.118.240.1', port: 443 },
    { address: '34.118.224.9', port: 8443 },
  ])
})

test('row 31: not even a rule of the configuration leads to metadata, to an address inside another, or to nowhere', async () => {
  await using world = await makeWorld({ dial: dialsNothing })
  const cases = [
    '169.254.169.254',
    'fd00:ec2::254',
    '64:ff9b::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '0.0.0.0',
    '224.0.0.1',
  ]
  const guard = createGuard({
    resolve: () => Promise.reject(new Error('no name is looked up')),
    listening: () => [],
    refusedRanges: [],
    timeoutMs: 1_000,
    lookUps: { perPrincipal: 1, total: 1 },
    log: silentLog,
  })
  for (const address of cases) {
    // Such a rule cannot be written; a source that has one all the same reaches nothing.
    await world.setRules([open('known.example.com'), rule('pinned.example.com', 8443, { address })])
    await expect(world.tunnel('pinned.example.com', 8443)).rejects.toThrow('host_not_allowed')
    await expect(world.tunnel('known.example.com', 443)).rejects.toThrow('host_not_allowed')
    // Nor would the guard let it be dialled.
    expect(guard.check({ host: 'pinned.example.com', port: 8443 }, { address }, 'prn_1')).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/^address_(?:metadata|embedded|unspecified|multicast)$/),
    })
  }
  expect(world.dialled).toEqual([])
})

test('row 31: the proxy is not reached through itself: by loopback, by its machine’s address, by a name for it', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const own = world.egress.tcpPort ?? 0
  const machine = Object.values(networkInterfaces())
    .flat()
    .find((entry) => entry?.family === 'IPv4' && !entry.internal)?.address
  world.names.set('other.example.com', ['127.0.0.1'])
  if (machine !== undefined) world.names.set('machine.example.com', [machine])
  await world.setRules([
    rule('a.example.com', up.port),
    { ...rule('other.example.com', up.port), address: undefined },
    rule('self.example.com', own),
    rule('again.example.com', own, { address: '127.0.0.2' }),
    rule('six.example.com', own, { address: '::1' }),
    open('machine.example.com'),
    rule('seven.example.com', own, { address: machine ?? '127.0.0.1' }),
  ])
  expect(await ask(world, 'a.example.com', up.port)).toContain('ok')
  expect(await ask(world, 'other.example.com', up.port)).toContain('address_loopback')
  for (const host of ['self', 'again', 'six', 'seven'])
    expect(await ask(world, `${host}.example.com`, own)).toContain('address_own')
  // A machine without an outside address has none to be reached by.
  expect(machine === undefined ? 'address_own' : await ask(world, 'machine.example.com')).toMatch(
    /address_(?:own|private|shared|link_local|reserved)/,
  )
  expect(up.seen).toHaveLength(1)
  expect(world.dialled).toEqual([{ address: '127.0.0.1', port: up.port }])
})

test('row 31: an address written as the host is nobody’s to allow', async () => {
  await using world = await makeWorld({ dial: dialsNothing })
  await world.setRules([open('api.example.com')])
  const auth = basic('orders', world.lease)
  for (const host of ['169.254.169.254', '127.0.0.1', '[::1]', '[fd00:ec2::254]', outside]) {
    const connected = await sayAndRead(
      await world.connect(),
      connectRequest(host, 443, 'orders', world.lease),
    )
    expect([host, connected]).toEqual([host, expect.stringContaining('host_not_allowed')])
    expect(connected).toContain('reach the host by its name: no rule can allow an address')
    expect(connected).not.toContain('egress allow')
    const plain = `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${auth}\r\n\r\n`
    expect(await sayAndRead(await world.connect(), plain)).toContain('host_not_allowed')
  }
  expect(world.dialled).toEqual([])
})

test.each(['https', 'http'])(
  'invariant 3: the address that was judged is the one that is dialled, once, with the host as SNI and Host, and recorded, by %s',
  async (scheme) => {
    await using world = await makeWorld({ dial: (to) => systemDial({ ...to, address: '127.0.0.1' }) })
    const host = 'api.example.com'
    const up = await world.upstream((_req, res) => res.end('reached'), scheme as 'http' | 'https')
    let lookups = 0
    world.names.get = (name) => {
      lookups += 1
      return name === host ? [outside] : undefined
    }
    await world.setRules([{ ...open(host), scheme, port: up.port }])
    // Spelt otherwise by its client: what goes out is the tuple's, not the client's.
    const spelt = `API.Example.com:${up.port}`
    const answer =
      scheme === 'https'
        ? await sayAndRead(await world.tunnel(host, up.port), `GET /a?x=1 HTTP/1.1\r\nHost: ${spelt}\r\n\r\n`)
        : await sayAndRead(
            await world.connect(),
            `GET http://${spelt}/a?x=1 HTTP/1.1\r\nHost: ${spelt}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`,
          )
    expect(answer).toContain('reached')
    expect(answer).not.toContain('93.184')
    expect(world.dialled).toEqual([{ address: outside, port: up.port }])
    expect(lookups).toBe(1)
    expect(up.seen).toMatchObject([
      { method: 'GET', url: '/a?x=1', servername: scheme === 'https' ? host : '' },
    ])
    const hosts = pairsOf(up.seen[0]?.rawHeaders ?? []).filter(([name]) => name.toLowerCase() === 'host')
    expect(hosts.map(([, value]) => value)).toEqual([`${host}:${up.port}`])
    const events = await world.events('egress.allowed')
    expect(events.map(({ data }) => data)).toMatchObject([
      { scheme, host, port: up.port, method: 'GET', path: '/a', addressClass: 'public' },
    ])
  },
)

test('row 31: the record says to an address of which class a request was let out, and never to which', async () => {
  await using world = await makeWorld({ refusedRanges: ['34.118.224.0/20'], dial: dialsNothing })
  const cases: [string, string | undefined, string][] = [
    ['open.example.com', undefined, 'public'],
    ['named.example.com', outside, 'public'],
    ['loopback.example.com', '127.0.0.1', 'loopback'],
    ['private.example.com', '10.1.2.3', 'private'],
    ['range.example.com', '34.118.224.9', 'refused'],
  ]
  world.names.set('open.example.com', [outside])
  await world.setRules([
    ...cases.map(([host, address]) => rule(host, 8443, { address })),
    { host: 'pinning.example.com', port: 8443, address: '10.1.2.4', intercept: false },
  ])
  for (const [host] of cases) expect(await ask(world, host, 8443)).toContain('upstream_unreachable')
  const passed = await world.connect()
  await sayAndRead(passed, connectRequest('pinning.example.com', 8443, 'orders', world.lease))
  passed.write(await clientHello('pinning.example.com'))
  const events = await world.events('egress.allowed', cases.length + 1)
  expect(events.map(({ data }) => [data['host'], data['addressClass']])).toEqual([
    ...cases.map(([host, , found]) => [host, found]),
    ['pinning.example.com', 'private'],
  ])
  expect(JSON.stringify(events)).not.toMatch(/\b(?:10\.1|34\.118|93\.184|127\.0)\./)
})

test('invariant 3: row 32: of several judged addresses at most four are dialled, in order, and no other', async () => {
  await using world = await makeWorld({ dial: dialsNothing })
  const addresses = [1, 2, 3, 4, 5].map((last) => `93.184.215.${last}`)
  world.names.set('many.example.com', addresses)
  await world.setRules([open('many.example.com')])
  expect(await ask(world, 'many.example.com')).toContain('upstream_unreachable')
  expect(world.dialled).toEqual(addresses.slice(0, 4).map((address) => ({ address, port: 443 })))
})

test('invariant 3: row 32: one inside address among the answers refuses them all, and the refusal tells no address', async () => {
  await using world = await makeWorld({ dial: dialsNothing })
  const answers: Record<string, [string[], string]> = {
    'mixed.example.com': [[outside, '10.0.0.7'], 'address_private'],
    'mixed-six.example.com': [[outside, '::1'], 'address_loopback'],
    'first.example.com': [['169.254.169.254', outside], 'address_metadata'],
    'gone.example.com': [[], 'name_unresolved'],
  }
  await world.setRules(Object.keys(answers).map(open))
  for (const [host, [addresses, reason]] of Object.entries(answers)) {
    world.names.set(host, addresses)
    const answer = await ask(world, host)
    expect(answer).toContain(`"reason":"${reason}"`)
    for (const address of addresses) expect(answer).not.toContain(address)
  }
  expect(world.dialled).toEqual([])
  expect(await world.events('egress.denied', 4)).toHaveLength(4)
})

test('row 32: an alias that leads inside is refused, asked of a name server by real packets', async () => {
  await using server = await startNameServer()
  await using world = await makeWorld({ resolve: server.resolve, dial: dialsNothing })
  const zone: [string, string[] | { alias: string }][] = [
    ['alias.example.com', { alias: 'metadata.internal.example.net' }],
    ['metadata.internal.example.net', ['169.254.169.254']],
    ['twice.example.com', { alias: 'alias.example.com' }],
    ['six.example.com', { alias: 'six.internal.example.net' }],
    ['six.internal.example.net', [outside, 'fd00:10::1']],
    ['good.example.com', { alias: 'cdn.example.net' }],
    ['cdn.example.net', [outside]],
  ]
  for (const [name, answer] of zone) server.zone.set(name, answer)
  await world.setRules(['alias', 'twice', 'six', 'good'].map((name) => open(`${name}.example.com`)))
  expect(await ask(world, 'alias.example.com')).toContain('address_metadata')
  expect(await ask(world, 'twice.example.com')).toContain('address_metadata')
  expect(await ask(world, 'six.example.com')).toContain('address_private')
  expect(world.dialled).toEqual([])
  expect(await ask(world, 'good.example.com')).toContain('upstream_unreachable')
  expect(world.dialled).toEqual([{ address: outside, port: 443 }])
})

test('invariant 3: row 32: a name that changes between two looks is dialled where it was judged, and refused once it leads inside', async () => {
  await using server = await startNameServer()
  await using world = await makeWorld({ resolve: server.resolve, dial: dialsNothing })
  const host = 'flips.example.com'
  await world.setRules([{ ...open(host), inject: injectBearer }])
  server.zone.set(host, [outside])
  const socket = await world.tunnel(host, 443)
  const first = sayAndRead(socket, request(host, 443, '/'))
  await expect.poll(() => server.asked.length).toBeGreaterThanOrEqual(2)
  server.zone.set(host, ['127.0.0.1'])
  expect(await first).toContain('upstream_unreachable')
  expect(world.dialled).toEqual([{ address: outside, port: 443 }])
  // A verdict is kept for two seconds.
  await new Promise((resolve) => setTimeout(resolve, 2_100))
  expect(await sayAndRead(socket, request(host, 443, '/'))).toContain('address_loopback')
  expect(world.dialled).toHaveLength(1)
  expect(world.logged()).not.toContain(theSecret)
})

test('row 32: a kept upstream connection is not used after the rules have changed', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const host = 'orders.example.com'
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  await sayAndRead(socket, request(host, up.port, '/'))
  await sayAndRead(socket, request(host, up.port, '/'))
  expect(world.dialled).toHaveLength(1)
  await world.setRules([rule(host, up.port, { paths: ['/a', '/'] })])
  await sayAndRead(socket, request(host, up.port, '/'))
  expect(world.dialled).toHaveLength(2)
})

test('row 32: nor is one on which a request was under way meanwhile', async () => {
  await using world = await makeWorld()
  let answer: () => void = () => undefined
  const up = await world.upstream((req, res) => {
    if (req.url === '/slow') answer = () => void res.end('late')
    else res.end('ok')
  })
  const host = 'orders.example.com'
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  const slow = sayAndRead(socket, request(host, up.port, '/slow'))
  await expect.poll(() => up.seen.length).toBe(1)
  await world.setRules([rule(host, up.port, { paths: ['/', '/a'] })])
  answer()
  expect(await slow).toContain('late')
  for (let i = 0; i < 2; i += 1) expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('ok')
  expect(world.dialled).toHaveLength(2)
})

test('row 33: a name is looked up only after a rule has allowed it: names carry nothing out', async () => {
  await using server = await startNameServer()
  await using world = await makeWorld({ resolve: server.resolve, dial: dialsNothing })
  await world.setRules([{ ...open('api.example.com'), paths: ['/v1'] }])
  server.zone.set('api.example.com', [outside])
  const secret = Buffer.from('what the sandbox knows').toString('hex')
  for (const host of [
    `${secret}.api.example.com`,
    `${secret}.evil.example.net`,
    `api.example.com.${secret}.net`,
  ]) {
    const text = connectRequest(host, 443, 'orders', world.lease)
    expect(await sayAndRead(await world.connect(), text)).toContain('host_not_allowed')
    const plain = `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    expect(await sayAndRead(await world.connect(), plain)).toContain('host_not_allowed')
  }
  // A tunnel alone asks nothing, nor does a request that is refused; nor can a stranger have a name looked up.
  const socket = await world.tunnel('api.example.com', 443)
  expect(await sayAndRead(socket, request('api.example.com', 443, '/admin'))).toContain('path_not_allowed')
  const stranger = connectRequest('api.example.com', 443, 'orders', 'nobody-knows-this-lease')
  expect(await sayAndRead(await world.connect(), stranger)).toContain('lease_invalid')
  expect(server.asked).toEqual([])
  expect(await sayAndRead(socket, request('api.example.com', 443, '/v1'))).toContain('upstream_unreachable')
  expect(new Set(server.asked)).toEqual(new Set(['api.example.com']))
})

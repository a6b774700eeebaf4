import { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type EgressRule, egressRule } from '../../src/catalog/index.ts'
import { decideEgress } from '../../src/egress/decision/decide.ts'
import { type Observed, suggestRules } from '../../src/egress/decision/proposal.ts'
import { unnamedRequests } from '../../src/store/index.ts'
import {
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
} from '../support/egress-world.ts'
import { until } from '../support/until.ts'

const host = 'orders.example.com'
const soon = () => ({ egress_warn_until: new Date(Date.now() + 60_000).toISOString() })

test('in warn mode what no rule names goes out without a credential, is recorded, and makes a rule', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) =>
    res.end(`had ${req.headers.authorization ?? 'none'} ${theSecret}`),
  )
  const known = rule(host, up.port, { paths: ['/v1'], methods: ['GET'], inject: injectBearer })
  await world.setRules([known], 'orders', soon())
  const socket = await world.tunnel(host, up.port)
  // The answer is searched, for it is the host of a credential; the request carried none.
  expect(await sayAndRead(socket, request(host, up.port, '/other/1'))).toMatch(/had none \*+/)
  expect(await sayAndRead(socket, request(host, up.port, '/v1/x'))).toMatch(/had Bearer \*+ \*+/)
  await world.events(undefined, 2)
  const [warned] = await world.events('egress.would_deny')
  expect(warned?.data).toMatchObject({
    reason: 'path_not_allowed',
    rule: 'warn',
    path: '/other/1',
    credentials: [],
  })
  const observed = await unnamedRequests(world.store.db, 'orders', 1)
  expect(observed).toMatchObject([
    { scheme: 'https', host, port: up.port, method: 'GET', path: '/other/1', times: 1 },
  ])
  const suggested = { host, port: up.port, address: '127.0.0.1', methods: ['GET'], paths: ['/other/1'] }
  expect(suggestRules(observed, [egressRule.parse(known)])).toEqual({
    rules: [{ rule: suggested, without: ['ORDERS_KEY'], times: 1 }],
    tunnels: [],
    impossible: [],
  })
  await world.setRules([known, suggested])
  const after = await world.tunnel(host, up.port)
  expect(await sayAndRead(after, request(host, up.port, '/other/1'))).toMatch(/had none/)
  expect(await sayAndRead(after, request(host, up.port, '/other/2'))).toContain('path_not_allowed')
})

test('an asterisk in a path is learnt as itself, and the learnt rule lets it out', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => res.end(`got ${req.url}`))
  const known = rule(host, up.port, { paths: ['/v1'], methods: ['GET'] })
  await world.setRules([known], 'orders', soon())
  expect(await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/logs-*/x'))).toContain(
    'got /logs-*/x',
  )
  await world.events('egress.would_deny', 1)
  const observed = await unnamedRequests(world.store.db, 'orders', 1)
  const { rules } = suggestRules(observed, [egressRule.parse(known)])
  expect(rules).toMatchObject([{ rule: { paths: ['/logs-%2A/x'] } }])
  await world.setRules([known, ...rules.map((each) => each.rule)])
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/logs-*/x'))).toContain('got /logs-*/x')
  expect(await sayAndRead(socket, request(host, up.port, '/logs-a/x'))).toContain('path_not_allowed')
})

test('warn mode lets nothing in: inside addresses, addresses as hosts and ambiguous requests stay refused', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  world.names.set('inside.example.com', ['10.1.2.3'])
  await world.setRules([], 'orders', soon())
  const inside = await world.tunnel('inside.example.com', 443)
  expect(await sayAndRead(inside, request('inside.example.com', 443, '/'))).toContain('address_private')
  for (const address of ['169.254.169.254', '127.0.0.1'])
    expect(
      await sayAndRead(await world.connect(), connectRequest(address, up.port, 'orders', world.lease)),
    ).toContain('host_not_allowed')
  const twice = await world.tunnel('inside.example.com', 443)
  expect(await sayAndRead(twice, request('inside.example.com', 443, '/a/../b'))).toContain('path_ambiguous')
  expect(world.dialled).toEqual([])
  // What warn mode refused of its own is wanted all the same, and no rule names it.
  await world.events('egress.denied', 4)
  const { rules } = suggestRules(await unnamedRequests(world.store.db, 'orders', 1), [])
  expect(rules).toEqual([
    {
      rule: { host: 'inside.example.com', methods: ['GET'], paths: ['/'] },
      times: 1,
      refused: ['address_private'],
    },
  ])
})

test.each([
  ['/v1%2Fadmin', 'path_ambiguous'],
  ['/v1?method=POST', 'override_forbidden'],
])('in warn mode what two readers would take for two requests (%s) stays refused', async (path, reason) => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules(
    [
      rule(host, up.port, { methods: ['GET'], paths: ['/'] }),
      rule(host, up.port, { methods: ['GET', 'POST'], paths: ['/v1/admin'] }),
    ],
    'orders',
    soon(),
  )
  expect(await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path))).toContain(reason)
  expect(up.seen).toEqual([])
})

test('warn mode ends by itself, and at once when it is taken out', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  const known = rule(host, up.port, { paths: ['/v1'] })
  await world.setRules([known], 'orders', { egress_warn_until: new Date(Date.now() + 700).toISOString() })
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/other'))).toContain('ok')
  await expect
    .poll(() => sayAndRead(socket, request(host, up.port, '/other')), { timeout: 3_000 })
    .toContain('path_not_allowed')
  await world.setRules([known], 'orders', soon())
  expect(await sayAndRead(socket, request(host, up.port, '/other'))).toContain('ok')
  await world.setRules([known])
  expect(await sayAndRead(socket, request(host, up.port, '/other'))).toContain('path_not_allowed')
})

test('the rules suggested let through all that was seen, and nothing of another host, port or method', () => {
  const segment = fc.stringMatching(/^[a-z0-9]{1,3}$/)
  const seen: fc.Arbitrary<Observed> = fc.record({
    scheme: fc.constantFrom('https', 'http'),
    host: fc.constantFrom('a.example.com', 'b.example.com'),
    port: fc.constantFrom(80, 443, 8443),
    method: fc.constantFrom('GET', 'POST', 'DELETE'),
    path: fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`),
    times: fc.integer({ min: 1, max: 9 }),
  })
  fc.assert(
    fc.property(fc.array(seen, { maxLength: 30 }), seen, (all, other) => {
      const { rules, impossible } = suggestRules(all, [])
      expect(impossible).toEqual([])
      const whole: EgressRule[] = rules.map((one) => egressRule.parse(one.rule))
      const allowed = (one: Observed) =>
        decideEgress({ ...one, scheme: one.scheme === 'https' ? 'https' : 'http', query: '' }, whole).allow
      expect(all.every(allowed)).toBe(true)
      expect(whole.every(({ paths }) => paths.length <= 5)).toBe(true)
      const alike = all.some(
        (one) => one.scheme === other.scheme && one.host === other.host && one.port === other.port,
      )
      expect(alike || !allowed(other)).toBe(true)
    }),
  )
})

test('in warn mode the certificates of a host that no rule names are good for it alone, and there are none once it is over', async () => {
  await using world = await makeWorld()
  const known = rule(host, 8443)
  await world.setRules([known], 'orders', soon())
  const odd = 'anything.example.net'
  const issuerOf = (socket: TLSSocket) =>
    new X509Certificate(socket.getPeerCertificate(true).issuerCertificate.raw)
  const issuer = issuerOf(await world.tunnel(odd, 8443))
  expect(issuer.ca).toBe(true)
  // Name constraints (2.5.29.30), as DER writes them.
  expect(issuer.raw.includes(Buffer.from('0603551d1e', 'hex'))).toBe(true)
  expect([issuer.raw.includes(odd), issuer.raw.includes(host)]).toEqual([true, false])
  const named = issuerOf(await world.tunnel(host, 8443))
  expect([named.raw.includes(odd), named.raw.includes(host)]).toEqual([false, true])
  await world.setRules([known])
  await expect(world.tunnel(odd, 8443)).rejects.toThrow('host_not_allowed')
  expect(issuerOf(await world.tunnel(host, 8443)).serialNumber).toBe(named.serialNumber)
})

test('what warn mode alone let out ends with it, and what a rule names goes on', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => res.write('data: x\n\n'), 20)
    res.on('close', () => clearInterval(timer))
  })
  const end = Date.now() + 5_000
  const more = { egress_warn_until: new Date(end).toISOString() }
  await world.setRules([rule(host, up.port, { paths: ['/named'] })], 'orders', more)
  const stream = async (name: string, path: string) => {
    const socket = await world.tunnel(name, up.port)
    socket.resume().write(request(name, up.port, path))
    await new Promise((resolve) => socket.once('data', resolve))
    return socket
  }
  const named = await stream(host, '/named')
  const unnamed = await stream(host, '/unnamed')
  // Without a rule there is no address either: a tunnel is all that can be had.
  const elsewhere = (await world.tunnel('other.example.com', up.port)).resume()
  const closed = Promise.all(
    [unnamed, elsewhere].map((one) => new Promise((resolve) => one.once('close', resolve))),
  )
  expect(Date.now()).toBeLessThan(end)
  await closed
  expect(Date.now() - end).toBeGreaterThanOrEqual(0)
  expect(Date.now() - end).toBeLessThan(1_000)
  expect(named.destroyed).toBe(false)
  await until(async () => (await world.events('egress.finished', 0)).length > 0)
  expect((await world.events('egress.finished')).map(({ data }) => data['failure'])).toEqual(['revoked'])
})

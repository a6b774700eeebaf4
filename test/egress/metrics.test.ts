import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { createEgress, generateEgressKeys } from '../../src/egress/index.ts'
import { createMetrics } from '../../src/egress/records/metrics.ts'
import { cutOff } from '../support/database.ts'
import {
  basic,
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
} from '../support/egress-world.ts'

const host = 'orders.example.com'

/** The sample's value; undefined when there is none. */
function sample(text: string, name: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? undefined : Number(line.slice(name.length + 1))
}

test('a proxy counts what it decides, and no request can make a new series', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const up = await world.upstream((_req, res) => res.end(`key ${theSecret}`))
  await world.setRules([rule(host, up.port, { inject: injectBearer, paths: ['/v1'] })])
  const at = `http://127.0.0.1:${world.egress.metricsPort}`
  const read = async () => await (await fetch(`${at}/metrics`)).text()
  const socket = await world.tunnel(host, up.port)
  for (let i = 0; i < 3; i++) await sayAndRead(socket, request(host, up.port, '/v1', [], 'POST', 'four'))
  const series = (text: string) =>
    text.split('\n').filter((line) => /^toolcrib_egress_[rfb]/.test(line)).length
  await sayAndRead(socket, request(host, up.port, '/secret-0'))
  const before = series(await read())
  for (let i = 1; i < 20; i++) await sayAndRead(socket, request(host, up.port, `/secret-${i}`, [`x-${i}: 1`]))
  for (let i = 0; i < 5; i++)
    await world
      .tunnel(host, up.port, { lease: `wrong-lease-wrong-lease-${i}`, source: `source-${i}` })
      .catch(() => 0)
  const text = await read()
  // One more, for who shows no good lease, whatever they call themselves.
  expect(series(text)).toBe(before + 1)
  expect(text).not.toMatch(/secret-|source-\d|lease-wrong/)
  expect(text).not.toContain(theSecret)
  const labelled = (decision: string, reason: string, source = 'orders') =>
    sample(
      text,
      `toolcrib_egress_requests_total{source="${source}",decision="${decision}",reason="${reason}"}`,
    )
  expect(labelled('allowed', '')).toBe(3)
  expect(labelled('denied', 'path_not_allowed')).toBe(20)
  expect(labelled('denied', 'lease_invalid', '')).toBe(5)
  expect(sample(text, 'toolcrib_egress_redactions_total{source="orders"}')).toBe(3)
  expect(sample(text, 'toolcrib_egress_body_bytes_total{source="orders",direction="sent"}')).toBe(12)
  expect(sample(text, 'toolcrib_egress_answer_seconds_count')).toBe(3)
  expect(sample(text, 'toolcrib_egress_live')).toBe(1)
  expect((await fetch(`${at}/readyz`)).status).toBe(200)
})

test('a proxy is not ready while the database is away, and says so', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const ready = () => fetch(`http://127.0.0.1:${world.egress.metricsPort}/readyz`)
  {
    await using _away = await cutOff(world.store)
    const answer = await ready()
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({
      error: { code: 'unavailable', message: 'the database does not answer' },
    })
  }
  expect((await ready()).status).toBe(200)
})

test('what no record can be made of is counted: leases that cannot be checked, and bytes that are no request', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const text = async () => await (await fetch(`http://127.0.0.1:${world.egress.metricsPort}/metrics`)).text()
  const denied = async (reason: string, source = '') =>
    sample(
      await text(),
      `toolcrib_egress_requests_total{source="${source}",decision="denied",reason="${reason}"}`,
    )
  const socket = await world.tunnel(host, up.port)
  await world.store.pool.query('ALTER TABLE leases RENAME TO leases_away')
  try {
    // A look is good for half a second.
    await new Promise((resolve) => setTimeout(resolve, 600))
    const connected = connectRequest(host, up.port, 'orders', world.lease)
    for (let i = 0; i < 2; i += 1)
      expect(await sayAndRead(await world.connect(), connected)).toMatch(
        /^HTTP\/1\.1 503 [\s\S]*"reason":"leases_unavailable","rule":"lease"/,
      )
    const plain = `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    expect(await sayAndRead(await world.connect(), plain)).toMatch(/^HTTP\/1\.1 503 /)
    expect(await denied('leases_unavailable')).toBe(3)
    expect(await sayAndRead(socket, request(host, up.port, '/'))).toMatch(
      /^HTTP\/1\.1 503 [\s\S]*leases_unavailable/,
    )
    expect(await denied('leases_unavailable', 'orders')).toBe(1)
    expect(up.seen).toEqual([])
  } finally {
    await world.store.pool.query('ALTER TABLE leases_away RENAME TO leases')
  }
  expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('ok')
  for (const bytes of ['\x05\x01\x00', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'])
    expect(await sayAndRead(await world.connect(), bytes)).toContain('x-toolcrib-denied: parse_error')
    // Who connects and goes has asked for nothing.
  ;(await world.connect()).destroy()
  expect(await denied('parse_error')).toBe(2)
  expect(await world.events('egress.denied', 0)).toEqual([])
})

test('who asks once without a lease, as git does, is told to show it and only counted', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const bare = (text: string) => text.replace(/Proxy-Authorization: .*\r\n/, '')
  const plain = `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`
  for (let i = 0; i < 40; i += 1) {
    const connected = bare(connectRequest(host, up.port, 'orders', world.lease))
    const answer = await sayAndRead(await world.connect(), i % 2 === 0 ? connected : plain)
    expect(answer).toMatch(/^HTTP\/1\.1 407 [\s\S]*proxy-authenticate: Basic/i)
    expect(answer).toContain('"reason":"lease_missing","rule":"lease"')
  }
  // A wrong one is recorded as ever: the others have taken nothing of what is kept for it.
  await sayAndRead(await world.connect(), connectRequest(host, up.port, 'orders', 'nobody-knows-this-lease'))
  expect(await world.events('egress.denied', 1)).toMatchObject([
    { data: { reason: 'lease_invalid', suppressed: 0 } },
  ])
  expect(world.logged().match(/egress decision/g)).toHaveLength(1)
  const text = await (await fetch(`http://127.0.0.1:${world.egress.metricsPort}/metrics`)).text()
  expect(
    sample(text, 'toolcrib_egress_requests_total{source="",decision="denied",reason="lease_missing"}'),
  ).toBe(40)
})

test('row 31: a sandbox does not reach the proxy’s metrics, though a rule names their address', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const port = world.egress.metricsPort ?? 0
  await world.setRules([rule('self.example.com', port)])
  const socket = await world.tunnel('self.example.com', port)
  expect(await sayAndRead(socket, request('self.example.com', port, '/metrics'))).toContain('address_own')
  expect(world.dialled).toEqual([])
})

test('an address for metrics that is taken is an error that names it', async () => {
  await using world = await makeWorld({ metrics: { host: '127.0.0.1', port: 0 } })
  const dir = dirname(world.egress.socketPath ?? '')
  await expect(
    createEgress({
      store: world.store,
      keys: await generateEgressKeys(join(dir, '..', 'keys'), Date.now()),
      listen: { unixSocketDir: join(dir, 'other') },
      trustedCas: [],
      systemRoots: false,
      metrics: { host: '127.0.0.1', port: world.egress.metricsPort ?? 0 },
      log: world.log,
    }),
  ).rejects.toThrow(
    /egress\.metrics: 127\.0\.0\.1:\d+ is in use; end what listens there, perhaps another `toolcrib egress`/,
  )
})

test('a name that is not resolved in time is told of in the log, and counted until the resolver gives up', async () => {
  const waiting: ((addresses: string[]) => void)[] = []
  await using world = await makeWorld({
    metrics: { host: '127.0.0.1', port: 0 },
    resolve: () => new Promise((resolve) => waiting.push(resolve)),
    limits: { dialTimeoutMs: 50 },
  })
  const names = ['hangs-0.example.com', 'hangs-1.example.com']
  await world.setRules(names.map((name) => ({ host: name, methods: ['GET'], paths: ['/'] })))
  const overdue = async () => {
    const text = await (await fetch(`http://127.0.0.1:${world.egress.metricsPort}/metrics`)).text()
    return sample(text, 'toolcrib_egress_lookups_overdue')
  }
  expect(await overdue()).toBe(0)
  for (const name of names)
    expect(await sayAndRead(await world.tunnel(name, 443), request(name, 443, '/'))).toContain(
      'name_lookup_failed',
    )
  expect(await overdue()).toBe(2)
  const said = world
    .logged()
    .split('\n')
    .filter((line) => line.includes('a name is not resolved in time'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(said).toMatchObject(names.map((name, i) => ({ host: name, overdue: i + 1 })))
  waiting[0]?.([])
  await expect.poll(overdue).toBe(1)
})

test('what requests passed is added up, and only those without a whole answer are failures', async () => {
  const metrics = createMetrics()
  const outcome = { status: 200, bytesIn: 5, bytesOut: 2, redactions: 0, failure: null }
  for (const failure of [null, null, 'upstream_failed']) metrics.finished('orders', { ...outcome, failure })
  const lines = (await metrics.text())
    .split('\n')
    .filter((line) => /_(?:body_bytes|failures)_total\{/.test(line))
  expect(lines).toEqual([
    'toolcrib_egress_failures_total{source="orders",reason="upstream_failed"} 1',
    'toolcrib_egress_body_bytes_total{source="orders",direction="received"} 15',
    'toolcrib_egress_body_bytes_total{source="orders",direction="sent"} 6',
  ])
})

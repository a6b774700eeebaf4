import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { createEgress, generateEgressKeys } from '../../src/egress/index.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead, theSecret } from '../support/egress-world.ts'

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
  ).rejects.toThrow(/egress\.metrics.*127\.0\.0\.1:\d+.*in use/)
})

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { needing } from '../support/needs.ts'
import { startFakeEgress } from './fake-egress.ts'
import { checkout, nasty, startTestToolhost } from './toolhost-process.ts'

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'toolcrib-egress-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

test('orders reaches its API over the relay with its lease as identity, and sends no key', async () => {
  await using folder = await temporaryFolder()
  const seen: unknown[] = []
  await using egress = await startFakeEgress(folder.path, (request, body, response) => {
    seen.push({
      method: request.method,
      url: request.url,
      body,
      authorization: request.headers.authorization,
    })
    response.setHeader('content-type', 'application/json').end('{"id":"o-1"}')
  })
  await using host = await startTestToolhost({ egressSocketPath: egress.socketPath, caFile: egress.caFile })
  await host.put('orders', [join(checkout, 'sources/orders/server.ts')], { lease: 'p@ss/word' })
  expect(await host.text('orders', 'create_order', { item: 'drill', quantity: 2 })).toBe('{"id":"o-1"}')
  expect(await host.text('orders', 'get_order', { id: 'a/b' })).toBe('{"id":"o-1"}')
  expect(seen).toEqual([
    { method: 'POST', url: '/v1/orders', body: '{"item":"drill","quantity":2}', authorization: undefined },
    { method: 'GET', url: '/v1/orders/a%2Fb', body: '', authorization: undefined },
  ])
  expect(egress.connects[0]).toEqual({ identity: 'orders:p@ss/word', target: 'orders.crib.test:443' })
})

test('a refusal of the egress proxy becomes a sentence with the way out', async () => {
  await using folder = await temporaryFolder()
  await using egress = await startFakeEgress(folder.path, (_request, _body, response) => {
    response.writeHead(403, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        reason: 'no rule of this source names this path',
        rule: 'default-deny',
        host: 'orders.crib.test',
        source: 'orders',
        help: 'Ask an admin to allow it.',
      }),
    )
  })
  await using host = await startTestToolhost({ egressSocketPath: egress.socketPath, caFile: egress.caFile })
  await host.put('orders', [join(checkout, 'sources/orders/server.ts')])
  expect(await host.text('orders', 'list_orders')).toBe(
    'The request from source "orders" to orders.crib.test was not let out: no rule of this source names this path (rule: default-deny). Ask an admin to allow it.',
  )
  egress.refuseTunnels()
  await host.put('orders', [join(checkout, 'sources/orders/server.ts')], { digest: 'again' })
  expect(await host.text('orders', 'list_orders')).toContain(
    'refused a connection to https://orders.crib.test (403)',
  )
})

test('a source learns where the proxy is and what to trust, under every usual name', async () => {
  await using folder = await temporaryFolder()
  await using egress = await startFakeEgress(folder.path, (_request, _body, response) =>
    response.end('hello'),
  )
  await using host = await startTestToolhost({ egressSocketPath: egress.socketPath, caFile: egress.caFile })
  await host.put('nasty', [nasty], { environment: { https_proxy: 'http://elsewhere' } })
  const environment = JSON.parse(await host.text('nasty', 'environment')) as Record<string, string>
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'WSS_PROXY', 'http_proxy', 'https_proxy', 'wss_proxy'])
    expect(environment[name]).toMatch(/^http:\/\/nasty:lease-nasty@127\.0\.0\.1:\d+$/)
  expect(environment).toMatchObject({
    NO_PROXY: '',
    NODE_USE_ENV_PROXY: '1',
    NODE_EXTRA_CA_CERTS: egress.caFile,
  })
  // By it rclone and others that give AWS's SDK for Go a transport of their own refuse to start.
  expect(environment).not.toHaveProperty('AWS_CA_BUNDLE')
})

test(
  'a program that knows nothing of us takes proxy and trust from its environment',
  needing('curl'),
  async () => {
    await using folder = await temporaryFolder()
    await using egress = await startFakeEgress(folder.path, (_request, _body, response) =>
      response.end('hello'),
    )
    await using host = await startTestToolhost({ egressSocketPath: egress.socketPath, caFile: egress.caFile })
    await host.put('workspace', [join(checkout, 'sources/workspace/server.ts')])
    expect(await host.text('workspace', 'run', { command: 'curl -sS https://orders.crib.test/' })).toBe(
      'exit code 0\n--- stdout\nhello',
    )
  },
)

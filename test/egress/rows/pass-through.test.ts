import { createServer, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { notify } from '../../../src/store/index.ts'
import { listenTo } from '../../support/armed.ts'
import { clientHello, withExtension } from '../../support/client-hello.ts'
import {
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
  type World,
} from '../../support/egress-world.ts'
import { listenLocally } from '../../support/listening.ts'

/** Tunnels that a rule lets through without ending TLS: for clients that pin the certificate of their server. */

const host = 'pinned.example.com'
const blind = (port: number) => ({ host, port, intercept: false, address: '127.0.0.1' })

async function opened(world: World, port: number) {
  const socket = await world.connect()
  const answer = await sayAndRead(socket, connectRequest(host, port, 'orders', world.lease))
  expect(answer).toMatch(/^HTTP\/1\.1 200/)
  return socket
}

/** TLS from end to end, with the upstream's own certificate. */
async function pinned(world: World, port: number): Promise<TLSSocket> {
  const socket = await opened(world, port)
  const secured = connectTls({ socket, servername: host, ca: world.upstreamCa, ALPNProtocols: ['http/1.1'] })
  secured.on('error', () => undefined)
  await new Promise<void>((resolve, reject) => {
    secured.once('secureConnect', resolve)
    secured.once('close', () => reject(new Error('closed')))
  })
  return secured
}

test('row 44: a client that pins its server’s certificate reaches it where a rule says so, and nothing is added', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => res.end(`hello ${req.headers.authorization ?? 'nobody'}`))
  // The same host at another port has a credential; it never goes this way.
  await world.setRules([blind(up.port), rule(host, up.port + 1, { inject: injectBearer })])
  const callId = await world.addCall()
  const secured = await pinned(world, up.port)
  expect(secured.authorized).toBe(true)
  expect(await sayAndRead(secured, request(host, up.port, '/any?x=1'))).toContain('hello nobody')
  secured.end()
  const outcome = await world.outcome()
  expect(outcome).toMatchObject({ status: null, redactions: 0, failure: null })
  expect(outcome['bytesOut']).toBeGreaterThan(300)
  expect(outcome['bytesIn']).toBeGreaterThan(500)
  const [event] = await world.events('egress.allowed')
  expect(event).toMatchObject({
    callId,
    data: { method: 'CONNECT', host, port: up.port, path: '', rule: 'egress[0]', credentials: [] },
  })
})

test('a tunnel that is not ended here is recorded as failed when its upstream breaks off, not when either side closes', async () => {
  await using world = await makeWorld()
  let act: (upstream: Socket) => unknown = () => undefined
  const server = createServer((upstream) => {
    upstream.on('error', () => undefined).once('data', () => act(upstream))
  })
  const port = await listenLocally(server)
  await world.setRules([blind(port)])
  let client: Socket
  const endings: [typeof act, string | null][] = [
    [(upstream) => upstream.resetAndDestroy(), 'upstream_failed'],
    [(upstream) => upstream.write('a beginning', () => upstream.resetAndDestroy()), 'upstream_failed'],
    [(upstream) => upstream.end('all of it'), null],
    [() => client.destroy(), null],
  ]
  for (const [index, [ends, failure]] of endings.entries()) {
    act = ends
    client = await opened(world, port)
    const closed = new Promise((resolve) => client.once('close', resolve))
    client.resume().write(await clientHello(host))
    await closed
    await world.events('egress.allowed', index + 1)
    expect(await world.outcome()).toMatchObject({ failure })
  }
  await new Promise((resolve) => server.close(resolve))
})

test('row 27: a tunnel that is not ended here is for its own server name in clear, and for TLS', async () => {
  await using world = await makeWorld({ limits: { handshakeTimeoutMs: 300 } })
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([blind(up.port)])
  const hello = await clientHello(host)
  const tried: [Buffer, string][] = [
    [await clientHello('evil.example.com'), 'sni_mismatch'],
    [await clientHello('127.0.0.1'), 'sni_mismatch'],
    [withExtension(hello, 0xfe0d, Buffer.alloc(200)), 'ech_refused'],
    [Buffer.from('SSH-2.0-OpenSSH_9.9\r\n'), 'tunnel_not_tls'],
    [Buffer.from(request(host, up.port, '/')), 'tunnel_not_tls'],
    [hello.subarray(0, 100), 'tls_failed'],
  ]
  for (const [bytes] of tried) {
    const socket = await opened(world, up.port)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(bytes)
    socket.resume()
    await closed
  }
  // Without a server name, as a client that dials an address says hello.
  const nameless = connectTls({ socket: await opened(world, up.port), ca: world.upstreamCa })
  nameless.on('error', () => undefined)
  await new Promise((resolve) => nameless.once('close', resolve))
  // Who leaves without a word is refused nothing.
  const silent = await opened(world, up.port)
  silent.end()
  await new Promise((resolve) => silent.resume().once('close', resolve))
  const denied = await world.events('egress.denied', tried.length + 1)
  expect(await world.events('egress.allowed', 0)).toEqual([])
  const reasons = [...tried.map(([, reason]) => reason), 'sni_mismatch']
  expect(denied.map(({ data }) => data['reason'])).toEqual(reasons)
  expect(world.dialled).toEqual([])
})

test('row 31: a tunnel that is not ended here leads to no inside address, and its refusal is told', async () => {
  await using world = await makeWorld()
  world.names.set(host, ['169.254.169.254'])
  await world.setRules([{ host, intercept: false }])
  const answer = await sayAndRead(await world.connect(), connectRequest(host, 443, 'orders', world.lease))
  expect(answer).toMatch(/^HTTP\/1\.1 403 address_metadata/)
  const other = await sayAndRead(await world.connect(), connectRequest(host, 8443, 'orders', world.lease))
  expect(other).toMatch(/^HTTP\/1\.1 403 port_not_allowed/)
  expect(world.dialled).toEqual([])
})

test('a tunnel that is not ended here ends with its lease, its rule, and the bytes that a person may send', async () => {
  await using world = await makeWorld({ limits: { sentPerHourPerPrincipal: 200_000 } })
  const up = await world.upstream((req, res) => req.on('end', () => res.end('ok')).resume())
  const closing = async (secured: TLSSocket, act: () => Promise<unknown>) => {
    const closed = new Promise((resolve) => secured.once('close', resolve))
    await act()
    const acted = Date.now()
    await closed
    return Date.now() - acted
  }
  await world.setRules([blind(up.port)])
  const first = await pinned(world, up.port)
  expect(await closing(first, () => world.setRules([rule(host, up.port)]))).toBeLessThan(1_000)
  expect(await world.outcome()).toMatchObject({ failure: 'revoked' })
  await world.setRules([blind(up.port)])
  const second = await pinned(world, up.port)
  const head = `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 300000\r\n\r\n`
  await closing(second, async () => second.write(head + 'x'.repeat(300_000)))
  await expect.poll(async () => JSON.stringify(await world.events())).toContain('sent_bytes_exceeded')
})

test('a lease that is withdrawn between CONNECT and the first message lets nothing through', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([blind(up.port)])
  const socket = await opened(world, up.port)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await world.store.db.deleteFrom('leases').execute()
  await notify(world.store.db, { kind: 'principal', id: world.principalId })
  await new Promise((resolve) => setTimeout(resolve, 100))
  socket.resume()
  socket.write(await clientHello(host))
  await closed
  expect(world.dialled).toEqual([])
  expect(await world.events('egress.allowed', 0)).toEqual([])
})

test('row 43: no certificate is signed for a host whose tunnels are not ended here', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([blind(up.port), rule('other.example.com', up.port)])
  const socket = await world.tunnel('other.example.com', up.port)
  const issuer = socket.getPeerCertificate(true).issuerCertificate.raw
  expect(issuer.includes(Buffer.from('other.example.com'))).toBe(true)
  expect(issuer.includes(Buffer.from(host))).toBe(false)
  expect(listenTo(socket).text).toBe('')
  expect(world.logged()).not.toContain(theSecret)
})

test('row 44: why the host of a tunnel that is let through could not be reached stands in the log', async () => {
  await using world = await makeWorld({
    dial: () => Promise.reject(Object.assign(new Error('nobody there'), { code: 'ECONNREFUSED' })),
  })
  await world.setRules([blind(8443)])
  const socket = await opened(world, 8443)
  socket.write(await clientHello(host))
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'upstream_unreachable' })
  expect(world.logged()).toMatch(
    /"level":30,[^\n]*"code":"upstream_unreachable < ECONNREFUSED"[^\n]*"port":8443,"msg":"a tunnel could not be opened"/,
  )
})

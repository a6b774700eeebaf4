import { connect as connectTcp, type Socket } from 'node:net'
import { expect, test } from 'vitest'
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
} from '../support/egress-world.ts'
import { until } from '../support/until.ts'

/** What hostile code in a sandbox can write to the proxy's socket, and what must not come of it. */
const host = 'orders.example.com'

async function oneRule(world: World) {
  const up = await world.upstream((_req, res) => res.end('fine'))
  await world.setRules([rule(host, up.port, { inject: injectBearer, paths: ['/v1'], methods: ['GET'] })])
  return up
}

/** Everything that comes back on a socket, as it grows. */
function listenTo(socket: Socket): { text: string; closed: boolean } {
  const heard = { text: '', closed: false }
  socket.on('data', (chunk: Buffer) => {
    heard.text += chunk.toString('latin1')
  })
  socket.on('close', () => {
    heard.closed = true
  })
  return heard
}

test('another source’s host, another generation’s lease, a guessed lease: each is refused and nothing is dialled', async () => {
  await using world = await makeWorld()
  const up = await oneRule(world)
  const workspace = await world.addLease({ principalId: world.principalId, source: 'workspace' })
  await world.setRules([], 'workspace')
  const tryTo = async (source: string, lease: string) =>
    (await sayAndRead(await world.connect(), connectRequest(host, up.port, source, lease))).split('\r\n')[0]
  expect(await tryTo('workspace', workspace.lease)).toMatch(/ 403 host_not_allowed/)
  // The name of the source is not what counts; the lease must be that source's.
  expect(await tryTo('orders', workspace.lease)).toMatch(/ 407 lease_invalid/)
  expect(await tryTo('orders', `${world.lease.slice(0, -1)}x`)).toMatch(/ 407 lease_invalid/)
  await world.store.db.updateTable('runners').set({ generation: 2 }).execute()
  await new Promise((resolve) => setTimeout(resolve, 600))
  expect(await tryTo('orders', world.lease)).toMatch(/ 407 lease_invalid/)
  expect(up.seen).toEqual([])
})

test.each([
  ['another Host inside', (port: number) => request('evil.example.com', port, '/v1'), /host_mismatch/],
  ['another port in Host', () => request(host, 1, '/v1'), /host_mismatch/],
  ['two Hosts', (port: number) => request(host, port, '/v1', ['Host: evil.example.com']), /host_duplicate/],
  [
    'an absolute form',
    (port: number) => request(host, port, `https://${host}:${port}/v1`),
    /target_malformed/,
  ],
  ['a CONNECT inside', (port: number) => request(host, port, `${host}:${port}`, [], 'CONNECT'), /^$|denied/],
  [
    'both lengths',
    (port: number) => request(host, port, '/v1', ['Content-Length: 3', 'Transfer-Encoding: chunked']),
    /parse_error|framing_forbidden/,
  ],
  [
    'an upgrade',
    (port: number) => request(host, port, '/v1', ['Connection: Upgrade', 'Upgrade: websocket']),
    /upgrade_unsupported/,
  ],
  [
    'an h2c upgrade',
    (port: number) => request(host, port, '/v1', ['HTTP2-Settings: AAMAAABkAAQAAP__']),
    /upgrade_unsupported/,
  ],
  [
    'a method override',
    (port: number) => request(host, port, '/v1', ['X-HTTP-Method-Override: DELETE']),
    /override_forbidden/,
  ],
  ['dot segments', (port: number) => request(host, port, '/v1/../admin'), /path_ambiguous/],
  ['encoded dot segments', (port: number) => request(host, port, '/v1/%2e%2e/admin'), /path_ambiguous/],
  ['a longer name of the prefix', (port: number) => request(host, port, '/v10'), /path_not_allowed/],
  ['another method', (port: number) => request(host, port, '/v1', [], 'DELETE'), /method_not_allowed/],
  [
    'a head of 100 KB',
    (port: number) => request(host, port, '/v1', [`X-Big: ${'x'.repeat(100_000)}`]),
    /parse_error|^$/,
  ],
  [
    'an obsolete line fold',
    (port: number) => request(host, port, '/v1', ['X-A: b\r\n folded: c']),
    /parse_error|^$/,
  ],
  ['a bare line feed', (port: number) => request(host, port, '/v1', ['X-A: b\nX-B: c']), /parse_error|^$/],
])('%s in a tunnel is refused and nothing is sent', async (_, write, refusal) => {
  await using world = await makeWorld()
  const up = await oneRule(world)
  const socket = await world.tunnel(host, up.port)
  const answer = await sayAndRead(socket, write(up.port))
  expect(/x-toolcrib-denied: (\S+)/i.exec(answer)?.[1] ?? '').toMatch(refusal)
  expect(up.seen).toEqual([])
  expect(answer).not.toContain(theSecret)
})

test('http:// to the credentialed host, https:// without a tunnel, and raw TCP are refused', async () => {
  await using world = await makeWorld()
  const up = await oneRule(world)
  const auth = `Proxy-Authorization: ${basic('orders', world.lease)}`
  const ask = async (text: string) => await sayAndRead(await world.connect(), text)
  const authority = `${host}:${up.port}`
  for (const [scheme, reason] of [
    ['http', 'scheme_not_allowed'],
    ['https', 'https_needs_connect'],
    ['ftp', 'target_malformed'],
  ])
    expect(
      await ask(`GET ${scheme}://${authority}/v1 HTTP/1.1\r\nHost: ${authority}\r\n${auth}\r\n\r\n`),
    ).toContain(`x-toolcrib-denied: ${reason}`)
  expect(await ask(`GET /v1 HTTP/1.1\r\nHost: ${authority}\r\n${auth}\r\n\r\n`)).toContain('target_malformed')
  expect(await ask('\u0016\u0003\u0001\u0000\u0005hello\r\n\r\n')).toContain('parse_error')
  // Not TLS inside: the tunnel is closed before a byte of it goes anywhere.
  const socket = await world.connect()
  await sayAndRead(socket, connectRequest(host, up.port, 'orders', world.lease))
  const heard = listenTo(socket)
  socket.write('GET /v1 HTTP/1.1\r\n\r\n')
  await until(() => heard.closed)
  expect(up.seen).toEqual([])
  expect(world.dialled).toEqual([])
})

test('headers of the sandbox cannot take the credential’s place, stand beside it, or remove it', async () => {
  await using world = await makeWorld()
  const up = await oneRule(world)
  const socket = await world.tunnel(host, up.port)
  const extra = [
    'Authorization: Bearer mine',
    'Connection: authorization',
    'Cookie: a=b',
    'X_API_KEY: mine',
    'Proxy-X: y',
  ]
  expect(await sayAndRead(socket, request(host, up.port, '/v1', extra))).toContain('200 OK')
  const raw = up.seen[0]?.rawHeaders ?? []
  expect(raw.filter((_, i) => i % 2 === 0 && raw[i]?.toLowerCase() === 'authorization')).toHaveLength(1)
  expect(raw).toContain(`Bearer ${theSecret}`)
  expect(raw.join('\n')).not.toMatch(/mine|a=b|proxy/i)
})

test('a flood of refused requests is counted, not recorded one by one, and stops nobody else', async () => {
  await using world = await makeWorld()
  const up = await oneRule(world)
  const bob = await world.addLease({})
  const flood = async () => {
    const socket = await world.tunnel(host, up.port)
    for (let i = 0; i < 60; i += 1)
      expect(await sayAndRead(socket, request(host, up.port, '/forbidden'))).toContain('path_not_allowed')
  }
  await Promise.all(Array.from({ length: 20 }, flood))
  const bobs = await world.tunnel(host, up.port, { lease: bob.lease })
  expect(await sayAndRead(bobs, request(host, up.port, '/v1'))).toContain('200 OK')
  const denied = await world.events('egress.denied', 300)
  // The minute may have turned once.
  expect(denied.length).toBeGreaterThanOrEqual(300)
  expect(denied.length).toBeLessThanOrEqual(600)
})

test('connections that say nothing make room for those that do', async () => {
  await using world = await makeWorld({ limits: { namelessConnections: 20 } })
  const up = await oneRule(world)
  const silent: Socket[] = []
  for (let i = 0; i < 60; i += 1) {
    const socket = connectTcp(world.egress.socketPath ?? '')
    socket.on('error', () => undefined)
    socket.write('CONNECT ')
    silent.push(socket)
  }
  try {
    await until(() => silent.filter((socket) => socket.destroyed).length >= 40)
    const socket = await world.tunnel(host, up.port)
    expect(await sayAndRead(socket, request(host, up.port, '/v1'))).toContain('200 OK')
  } finally {
    for (const socket of silent) socket.destroy()
  }
})

test('a person holds only so many connections, idle ones too, and others are served', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 5, requestsPerPrincipal: 5 } })
  const up = await oneRule(world)
  const bob = await world.addLease({})
  const ask = async () => {
    const head = `GET http://nowhere.example.com/ HTTP/1.1\r\nHost: nowhere.example.com\r\nProxy-Authorization: ${basic('orders', world.lease)}\r\n\r\n`
    return await sayAndRead(await world.connect(), head)
  }
  for (let i = 0; i < 10; i += 1) expect(await ask()).toContain('host_not_allowed')
  const eleventh = await ask()
  expect(eleventh).toContain('too_many_requests')
  expect(eleventh).toMatch(/connection: close/i)
  const socket = await world.tunnel(host, up.port, { lease: bob.lease })
  expect(await sayAndRead(socket, request(host, up.port, '/v1'))).toContain('200 OK')
})

import { spawnSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { createEgress, generateEgressKeys } from '../../src/egress/index.ts'
import {
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
} from '../support/egress-world.ts'

const host = 'orders.example.com'

test('invariant 1: the credential’s value is in no log, record, error or row', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((req, res) => {
    if (req.url === '/break') return void req.socket.destroy()
    if (req.url === '/garbage') return void req.socket.end(`HTTP/1.1 200 OK\r\n${theSecret}\r\n\r\n`)
    if (req.url === '/endless-head') return void res.writeHead(200, { x: theSecret.repeat(2_000) }).end()
    res.statusMessage = theSecret.slice(0, 8)
    res.writeHead(500, {
      [`x-${Buffer.from(theSecret).toString('hex')}`]: '1',
      'x-also': `Basic ${Buffer.from(`u:${theSecret}`).toString('base64')}`,
    })
    res.end(`error: key ${theSecret} is not allowed`)
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  let answers = ''
  for (const path of ['/', '/break', '/garbage', '/endless-head', `/?key=${encodeURIComponent('mine')}`]) {
    answers += await sayAndRead(await world.tunnel(host, up.port), request(host, up.port, path))
  }
  expect(up.seen).toHaveLength(5)
  const tables = ['events', 'credentials', 'egress_keys', 'sources'] as const
  let rows = ''
  await world.events('egress.allowed', 5)
  for (const table of tables)
    rows += JSON.stringify(await world.store.db.selectFrom(table).selectAll().execute())
  const everything = answers + rows + world.logged()
  // Bytes printed one by one, as JSON shows a Buffer.
  expect(everything).not.toContain([...Buffer.from(theSecret.slice(0, 8))].join(','))
  for (const form of [
    theSecret,
    theSecret.slice(0, 12),
    Buffer.from(theSecret).toString('hex'),
    Buffer.from(theSecret).toString('base64').slice(0, 20),
  ]) {
    expect(everything).not.toContain(form)
  }
})

test('row 38: one principal at their limit of tunnels or requests is told so, and others are served', async () => {
  await using world = await makeWorld({ limits: { tunnelsPerPrincipal: 2, requestsPerPrincipal: 1 } })
  const up = await world.upstream((req, res) => {
    if (req.url !== '/hang') res.end('ok')
  })
  await world.setRules([rule(host, up.port)])
  const first = await world.tunnel(host, up.port)
  const second = await world.tunnel(host, up.port)
  await expect(world.tunnel(host, up.port)).rejects.toThrow('too_many_tunnels')
  first.write(request(host, up.port, '/hang'))
  await expect.poll(() => up.seen.length).toBe(1)
  expect(await sayAndRead(second, request(host, up.port, '/'))).toMatch(
    /^HTTP\/1\.1 429 [\s\S]*too_many_requests/,
  )
  const other = await world.addLease({})
  const theirs = await world.tunnel(host, up.port, { lease: other.lease })
  expect(await sayAndRead(theirs, request(host, up.port, '/'))).toContain('ok')
  first.destroy()
  await expect.poll(async () => (await world.outcome())['failure']).not.toBeUndefined()
  expect(await sayAndRead(second, request(host, up.port, '/'))).toContain('ok')
  await expect(world.tunnel(host, up.port)).resolves.toBeDefined()
})

test('row 38: a tunnel without handshake, without requests, or with a head that never ends is closed', async () => {
  await using world = await makeWorld({
    limits: { handshakeTimeoutMs: 200, tunnelIdleTimeoutMs: 300, headersTimeoutMs: 300 },
  })
  await world.setRules([rule(host, 8443)])
  const silent = await world.connect()
  await sayAndRead(silent, connectRequest(host, 8443, 'orders', world.lease))
  const idle = await world.tunnel(host, 8443)
  const slow = await world.tunnel(host, 8443)
  slow.write('GET / HTTP/1.1\r\n')
  const drip = setInterval(() => slow.write('x: y\r\n'), 50)
  const slowOuter = await world.connect()
  slowOuter.write('CONNECT ')
  for (const socket of [silent, idle, slow, slowOuter]) socket.resume()
  await Promise.all(
    [silent, idle, slow, slowOuter].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
  )
  clearInterval(drip)
  expect([silent, idle, slow, slowOuter].every((socket) => socket.destroyed)).toBe(true)
})

test('row 38: an upstream that does not answer is given up on, and the refusal says that it may have acted', async () => {
  await using world = await makeWorld({ limits: { idleTimeoutMs: 300 } })
  const up = await world.upstream(() => undefined)
  await world.setRules([rule(host, up.port)])
  const answer = await sayAndRead(
    await world.tunnel(host, up.port),
    request(host, up.port, '/', [], 'POST', 'x'),
  )
  expect(answer === '' || answer.includes('upstream_timeout')).toBe(true)
  expect(up.seen).toHaveLength(1)
  expect((await world.outcome())['failure']).toMatch(/upstream_timeout|client_closed/)
})

test('row 41: while records cannot be written nothing is let out, and what was let out is recorded after', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  await world.store.pool.query('ALTER TABLE events RENAME TO events_away')
  expect(await sayAndRead(socket, request(host, up.port, '/1'))).toContain('ok')
  await new Promise((resolve) => setTimeout(resolve, 5_200))
  expect(await sayAndRead(socket, request(host, up.port, '/2'))).toMatch(
    /^HTTP\/1\.1 503 [\s\S]*records_unavailable/,
  )
  expect(up.seen).toHaveLength(1)
  await world.store.pool.query('ALTER TABLE events_away RENAME TO events')
  expect((await world.events('egress.allowed'))[0]?.data['path']).toBe('/1')
  await expect
    .poll(() => sayAndRead(socket, request(host, up.port, '/3')), { timeout: 3_000 })
    .toContain('ok')
})

test('row 42: a source whose configuration does not parse reaches nothing', async () => {
  await using world = await makeWorld()
  await world.setRules([{ ...rule(host, 8443), surprise: true }])
  await expect(world.tunnel(host, 8443)).rejects.toThrow('host_not_allowed')
  await world.setRules([{ ...rule(host, 8443), host: '*.example.com' }])
  await expect(world.tunnel(host, 8443)).rejects.toThrow('host_not_allowed')
})

test('a large body goes through in both directions without being gathered', async () => {
  await using world = await makeWorld()
  const size = 30 * 1024 * 1024
  const up = await world.upstream((req, res) => {
    res.writeHead(200)
    req.pipe(res)
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  let received = 0
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  socket.write(`POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Length: ${size}\r\n\r\n`)
  const piece = Buffer.alloc(64 * 1024, 'x')
  for (let sent = 0; sent < size; sent += piece.length) {
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  await expect.poll(() => received, { timeout: 20_000 }).toBeGreaterThan(size)
  expect(await world.outcome()).toMatchObject({ bytesIn: size, bytesOut: size, failure: null })
})

test('a second proxy refuses the first one’s socket, and takes over one that a dead process left', async () => {
  await using world = await makeWorld()
  const dir = dirname(world.egress.socketPath ?? '')
  const keys = await generateEgressKeys(join(dir, '..', 'keys'), Date.now())
  const options = {
    store: world.store,
    keys,
    listen: { unixSocketDir: dir },
    trustedCas: [],
    systemRoots: false,
    log: world.log,
  }
  await expect(createEgress(options)).rejects.toThrow('another egress proxy listens')
  const socket = await world.connect()
  expect(socket.destroyed).toBe(false)
  await world.egress[Symbol.asyncDispose]()
  expect(await readdir(dir)).toEqual([])
  // A socket nobody listens on, as a killed process leaves it.
  const script = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  const left = spawnSync(process.execPath, ['-e', script, join(dir, 'proxy.sock')])
  expect(left.signal).toBe('SIGKILL')
  expect(await readdir(dir)).toEqual(['proxy.sock'])
  await using second = await createEgress(options)
  const probe = connect(second.socketPath ?? '')
  await new Promise((resolve) => probe.once('connect', resolve))
  probe.destroy()
})

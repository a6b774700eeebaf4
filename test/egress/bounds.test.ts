import { spawnSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { createEgress, generateEgressKeys } from '../../src/egress/index.ts'
import { injectBearer, makeWorld, request, rule, sayAndRead, theSecret } from '../support/egress-world.ts'

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

import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import {
  connectRequest,
  injectBearer,
  makeWorld,
  request,
  rule,
  sayAndRead,
  theSecret,
} from '../support/egress-world.ts'
import { needing } from '../support/needs.ts'

const run = promisify(execFile)
const host = 'orders.example.com'

test('a request that a rule names goes out with the credential, and one record joins it to its call', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('{"orders":3}'))
  await world.setRules([rule(host, up.port, { inject: injectBearer, paths: ['/v1'] })])
  const callId = await world.addCall()
  const socket = await world.tunnel(host, up.port)
  const answer = await sayAndRead(socket, request(host, up.port, '/v1/orders?since=1'))
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK/)
  expect(answer).toContain('{"orders":3}')
  expect(up.seen).toHaveLength(1)
  expect(up.seen[0]?.url).toBe('/v1/orders?since=1')
  expect(up.seen[0]?.servername).toBe(host)
  expect(up.seen[0]?.rawHeaders).toContain(`Bearer ${theSecret}`)
  const [event] = await world.events()
  expect(event?.kind).toBe('egress.allowed')
  expect(event?.callId).toBe(callId)
  expect(event?.data).toMatchObject({
    sourceId: 'orders',
    scheme: 'https',
    host,
    port: up.port,
    method: 'GET',
    path: '/v1/orders',
    rule: 'egress[0]',
    callIds: [callId],
    credentials: [{ credential: 'ORDERS_KEY', slot: 'header:authorization' }],
  })
  expect(await world.outcome()).toMatchObject({
    status: 200,
    bytesIn: 12,
    bytesOut: 0,
    redactions: 0,
    failure: null,
  })
  expect(world.dialled).toEqual([{ address: '127.0.0.1', port: up.port }])
})

test('a host without a rule is refused at CONNECT with a reason and the way out, and recorded', async () => {
  await using world = await makeWorld()
  await world.setRules([rule(host, 443)])
  const socket = await world.connect()
  const answer = await sayAndRead(socket, connectRequest('evil.example.com', 443, 'orders', world.lease))
  expect(answer).toMatch(/^HTTP\/1\.1 403 /)
  expect(JSON.parse(answer.split('\r\n\r\n')[1] ?? '')).toMatchObject({
    reason: 'host_not_allowed',
    rule: 'default',
    host: 'evil.example.com:443',
    source: 'orders',
    help: expect.stringContaining('ask an admin'),
  })
  const [event] = await world.events('egress.denied')
  expect(event?.data).toMatchObject({
    host: 'evil.example.com',
    method: 'CONNECT',
    reason: 'host_not_allowed',
  })
  expect(world.dialled).toEqual([])
})

/** An upstream that says what it got, and what a program needs to reach it through the proxy. */
async function forPrograms(world: Awaited<ReturnType<typeof makeWorld>>) {
  const up = await world.upstream((req, res) => {
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    req.on('end', () => res.end(`${req.method} ${size}`))
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const ca = join(tmpdir(), `toolcrib-ca-${process.pid}.pem`)
  await writeFile(ca, world.ca)
  const { lease } = await world.addLease({ from: '127.0.0.1' })
  return { up, ca, proxy: `http://orders:${lease}@127.0.0.1:${world.egress.tcpPort}` }
}

test('Node’s fetch works through the proxy as programs in a sandbox use it', async () => {
  await using world = await makeWorld()
  const { up, ca, proxy } = await forPrograms(world)
  // A program of its own; what it prints is its answer to this test.
  const script = `const r = await fetch('https://${host}:${up.port}/x', { method: 'POST', body: 'x'.repeat(100000) });
    console.log(r.status, await r.text())`
  const node = await run(process.execPath, ['--input-type=module', '-e', script], {
    env: { NODE_USE_ENV_PROXY: '1', HTTPS_PROXY: proxy, NODE_EXTRA_CA_CERTS: ca },
  })
  expect(node.stdout.trim()).toBe('200 POST 100000')
  expect(up.seen.every((seen) => seen.rawHeaders.includes(`Bearer ${theSecret}`))).toBe(true)
})

test('curl works through the proxy as programs in a sandbox use it', needing('curl'), async () => {
  await using world = await makeWorld()
  const { up, ca, proxy } = await forPrograms(world)
  const curl = await run('curl', ['-sS', '--cacert', ca, '--proxy', proxy, `https://${host}:${up.port}/y`])
  expect(curl.stdout).toBe('GET 0')
  const chunked = await run('curl', [
    '-sS',
    '--cacert',
    ca,
    '--proxy',
    proxy,
    '-H',
    'Transfer-Encoding: chunked',
    '-H',
    'Expect: 100-continue',
    '-d',
    'abc',
    `https://${host}:${up.port}/y`,
  ])
  expect(chunked.stdout).toBe('POST 3')
  expect(up.seen.every((seen) => seen.rawHeaders.includes(`Bearer ${theSecret}`))).toBe(true)
})

test('plain http goes out where a rule says http, and never with a credential', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('plain'), 'http')
  const plain = { ...rule('plain.example.com', up.port), scheme: 'http' }
  await world.setRules([plain])
  const say = async (name: string) => {
    const auth = Buffer.from(`orders:${world.lease}`).toString('base64')
    const socket = await world.connect()
    return await sayAndRead(
      socket,
      `GET http://${name}:${up.port}/a HTTP/1.1\r\nHost: ${name}:${up.port}\r\nProxy-Authorization: Basic ${auth}\r\n\r\n`,
    )
  }
  expect(await say('plain.example.com')).toMatch(/^HTTP\/1\.1 200 [^]*plain$/)
  // Such a rule cannot be written; a source that has one all the same reaches nothing.
  const armedInClear = { ...rule('armed.example.com', up.port, { inject: injectBearer }), scheme: 'http' }
  await world.setRules([plain, armedInClear])
  expect(await say('armed.example.com')).toContain('host_not_allowed')
  expect(await say('plain.example.com')).toContain('host_not_allowed')
  expect(up.seen).toHaveLength(1)
  expect(up.seen[0]?.rawHeaders.join()).not.toContain('orders')
})

test('a missing credential refuses the request and names the credential', async () => {
  await using world = await makeWorld()
  await world.setRules([
    rule(host, 8443, { inject: [{ credential: 'OTHER_KEY', into: 'header:x-key', format: '{value}' }] }),
  ])
  const socket = await world.tunnel(host, 8443)
  const answer = await sayAndRead(socket, request(host, 8443, '/'))
  expect(answer).toContain('"reason":"credential_missing"')
  expect(answer).toContain('OTHER_KEY')
  expect(world.dialled).toEqual([])
})

test('a stream is passed on event by event, on a searched route too', async () => {
  await using world = await makeWorld()
  let send: (text: string) => void = () => undefined
  const up = await world.upstream((_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.flushHeaders()
    send = (text) => void res.write(text)
  })
  await world.setRules([rule(host, up.port, { inject: injectBearer })])
  const socket = await world.tunnel(host, up.port)
  let got = ''
  socket.on('data', (chunk: Buffer) => {
    got += chunk.toString()
  })
  socket.write(request(host, up.port, '/events'))
  await expect.poll(() => got).toContain('text/event-stream')
  send('data: one\n\n')
  await expect.poll(() => got).toContain('data: one\n\n')
  send('data: two\n\n')
  await expect.poll(() => got).toContain('data: two\n\n')
})

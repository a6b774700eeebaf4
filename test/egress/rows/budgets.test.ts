import { expect, test } from 'vitest'
import { host } from '../../support/armed.ts'
import {
  connectRequest,
  makeWorld,
  request,
  rule,
  sayAndRead,
  type World,
} from '../../support/egress-world.ts'

/** What one person may have and send in a time, and all of them together, and what of it others notice. */

test('row 38: one person’s flood of requests is told when to come again, and others are served', async () => {
  await using world = await makeWorld({ limits: { requestsPerMinutePerPrincipal: 4 } })
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  // The CONNECT counts too.
  const socket = await world.tunnel(host, up.port)
  for (let i = 0; i < 3; i++) expect(await sayAndRead(socket, request(host, up.port, '/'))).toContain('ok')
  const refused = await sayAndRead(socket, request(host, up.port, '/'))
  expect(refused).toMatch(/^HTTP\/1\.1 429 [\s\S]*retry-after: \d+\r\n[\s\S]*request_rate_exceeded/i)
  await expect(world.tunnel(host, up.port)).rejects.toThrow('request_rate_exceeded')
  const other = await world.addLease({})
  const theirs = await world.tunnel(host, up.port, { lease: other.lease })
  expect(await sayAndRead(theirs, request(host, up.port, '/'))).toContain('ok')
  expect(up.seen).toHaveLength(4)
})

test('rows 35 and 38: an upload ends where a person has sent what they may in an hour, and is not taken for whole', async () => {
  await using world = await makeWorld({ limits: { sentPerHourPerPrincipal: 1_000_000 } })
  let whole = 0
  let received = 0
  const up = await world.upstream((req, res) => {
    req.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    req.on('end', () => {
      whole += 1
      res.end('ok')
    })
  })
  await world.setRules([rule(host, up.port)])
  const socket = await world.tunnel(host, up.port)
  expect(await sayAndRead(socket, request(host, up.port, '/', [], 'POST', 'x'.repeat(100_000)))).toContain(
    'ok',
  )
  socket.write(`POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Length: 30000000\r\n\r\n`)
  const answer = await sayAndRead(socket, 'y'.repeat(3_000_000))
  expect(answer).toMatch(/^HTTP\/1\.1 429 [\s\S]*sent_bytes_exceeded/)
  await world.events('egress.allowed', 2)
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'sent_bytes_exceeded' })
  expect(whole).toBe(1)
  expect(received).toBeLessThan(1_300_000)
  await expect(world.tunnel(host, up.port)).rejects.toThrow('sent_bytes_exceeded')
})

/** What everybody shares is used up: another person's request says so, and when to come again. */
const overloaded = /^HTTP\/1\.1 503 [^]*retry-after: \d+[^]*"reason":"proxy_overloaded","rule":"limit"/i

async function connectAs(world: World, lease: string, port: number): Promise<string> {
  return await sayAndRead(await world.connect(), connectRequest(host, port, 'orders', lease))
}

test('row 38: the requests of everybody at once have a limit, and whoever comes then is told to come again', async () => {
  await using world = await makeWorld({ limits: { requests: 1 } })
  const up = await world.upstream((req, res) => {
    if (req.url !== '/hang') res.end('ok')
  })
  await world.setRules([rule(host, up.port)])
  const bob = await world.addLease({})
  const mine = await world.tunnel(host, up.port)
  const theirs = await world.tunnel(host, up.port, { lease: bob.lease })
  mine.write(request(host, up.port, '/hang'))
  await expect.poll(() => up.seen.length).toBe(1)
  expect(await sayAndRead(theirs, request(host, up.port, '/'))).toMatch(overloaded)
  mine.destroy()
  await expect.poll(() => sayAndRead(theirs, request(host, up.port, '/'))).toContain('200 OK')
})

test('row 38: the tunnels of everybody have a limit', async () => {
  await using world = await makeWorld({ limits: { tunnels: 1 } })
  await world.setRules([rule(host, 8443)])
  const bob = await world.addLease({})
  const mine = await world.tunnel(host, 8443)
  expect(await connectAs(world, bob.lease, 8443)).toMatch(overloaded)
  mine.destroy()
  await expect.poll(() => connectAs(world, bob.lease, 8443)).toContain('200 Connection Established')
})

test.each([
  ['requests in a minute', { requestsPerMinute: 2 }],
  ['bytes in an hour', { sentPerHour: 500 }],
])('row 38: what one person has used up of everybody’s %s is gone for others', async (_, limits) => {
  await using world = await makeWorld({ limits })
  const up = await world.upstream((req, res) => {
    req.resume()
    req.on('end', () => res.end('ok'))
  })
  await world.setRules([rule(host, up.port)])
  const bob = await world.addLease({})
  const mine = await world.tunnel(host, up.port)
  await sayAndRead(mine, request(host, up.port, '/', [], 'POST', 'x'.repeat(400)))
  expect(await connectAs(world, bob.lease, up.port)).toMatch(overloaded)
})

test('row 38: one person’s bodies that are held back have a share of the room, and who goes beyond it is told so', async () => {
  const mebibyte = 1024 * 1024
  await using world = await makeWorld({ limits: { bodyBytes: 40 * mebibyte } })
  const up = await world.upstream((_req, res) => res.end('ok'))
  const inject = [{ credential: 'ORDERS_KEY', into: 'body:/key', format: '{value}' }]
  await world.setRules([rule(host, up.port, { inject })])
  const held = Buffer.alloc(33 * mebibyte, ' ')
  const head = `POST / HTTP/1.1\r\nHost: ${host}:${up.port}\r\nContent-Type: application/json\r\nContent-Length: ${held.length + 2}\r\n\r\n`
  const first = await world.tunnel(host, up.port)
  first.write(head)
  await new Promise((resolve) => first.write(held, resolve))
  // One person has 64 MiB of it.
  const second = await world.tunnel(host, up.port)
  second.write(head)
  const refused = await sayAndRead(second, held.toString('latin1'), 20_000)
  expect(refused).toMatch(/^HTTP\/1\.1 429 [^]*"reason":"too_many_requests","rule":"limit"/)
  const bob = await world.addLease({})
  const theirs = await world.tunnel(host, up.port, { lease: bob.lease })
  const asked = request(host, up.port, '/', ['Content-Type: application/json'], 'POST', '{}')
  expect(await sayAndRead(theirs, asked)).toContain('200 OK')
  first.destroy()
})

test('row 38: the room of a body that was held back is given back when its request is over', async () => {
  const size = 4 * 1024 * 1024
  await using world = await makeWorld({ limits: { bodyBytes: 2 * size } })
  const up = await world.upstream((req, res) => {
    req.resume()
    req.on('end', () => res.end('ok'))
  })
  const inject = [{ credential: 'ORDERS_KEY', into: 'body:/key', format: '{value}' }]
  await world.setRules([rule(host, up.port, { inject })])
  const body = JSON.stringify({ a: 'x'.repeat(size) })
  const asked = request(host, up.port, '/', ['Content-Type: application/json'], 'POST', body)
  const socket = await world.tunnel(host, up.port)
  // One person has 64 MiB of it.
  for (let i = 0; i < 17; i += 1) expect(await sayAndRead(socket, asked, 20_000)).toContain('200 OK')
})

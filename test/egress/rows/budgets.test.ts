import { expect, test } from 'vitest'
import { host } from '../../support/armed.ts'
import { makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'

/** What one person may send in a time, and what of it others notice. */

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

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createBudget } from '../../src/egress/bounds/budget.ts'
import { makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'

const host = 'orders.example.com'

test('in no window does anybody spend more than the size and what came back meanwhile, nor all together', () => {
  const step = fc.record({
    who: fc.constantFrom('a', 'b', 'c'),
    amount: fc.integer({ min: 1, max: 5 }),
    pauseMs: fc.integer({ min: 0, max: 300 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      let now = 0
      const budget = createBudget({ perPrincipal: 20, total: 40, windowMs: 1_000, now: () => now })
      const spent = { a: 0, b: 0, c: 0 }
      for (const { who, amount, pauseMs } of steps) {
        now += pauseMs
        const refused = budget.spend(who as 'a', amount)
        expect(refused?.waitSeconds ?? 1).toBeGreaterThan(0)
        if (refused === undefined) spent[who as 'a'] += amount
        // The last thing that was begun may overdraw.
        expect(spent[who as 'a']).toBeLessThanOrEqual(20 + (now * 20) / 1_000 + 5)
        expect(spent.a + spent.b + spent.c).toBeLessThanOrEqual(40 + (now * 40) / 1_000 + 5)
      }
    }),
  )
})

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

test('row 38: an upload ends where a person has sent what they may in an hour, and is not taken for whole', async () => {
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

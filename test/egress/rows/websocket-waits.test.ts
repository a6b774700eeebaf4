import { expect, test } from 'vitest'
import { host } from '../../support/armed.ts'
import { makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'

/** A handshake whose answer is long in coming. */

test('row 38: a client that says something before its handshake is answered, and leaves, gives its place back', async () => {
  await using world = await makeWorld({ limits: { requestsPerPrincipal: 1 } })
  const up = await world.upstream((req, res) => (req.url === '/ok' ? res.end('ok') : undefined))
  await world.setRules([rule(host, up.port, { methods: ['GET', 'WEBSOCKET'] })])
  for (const [round, says] of [Buffer.alloc(0), Buffer.from([0x81, 0x80, 1, 2, 3, 4])].entries()) {
    const waiting = await world.tunnel(host, up.port)
    waiting.resume()
    const handshake = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13']
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
    waiting.write(request(host, up.port, '/wait', [...handshake, key]))
    await expect.poll(() => up.seen.length, { timeout: 5_000 }).toBe(2 * round + 1)
    waiting.write(says)
    await new Promise((resolve) => setTimeout(resolve, 100))
    waiting.destroy()
    const asked = async () => sayAndRead(await world.tunnel(host, up.port), request(host, up.port, '/ok'))
    await expect.poll(asked, { timeout: 10_000, interval: 300 }).toContain('200 OK')
  }
})

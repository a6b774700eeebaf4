import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { host, listenTo } from '../../support/armed.ts'
import { connectRequest, makeWorld, request, rule, sayAndRead } from '../../support/egress-world.ts'

/** What a client does with its TLS behind the handshake. */

test('row 38: a client of TLS 1.2 negotiates once in a tunnel: no limit would know of a handshake beyond that', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end('fine'))
  await world.setRules([rule(host, up.port)])
  const tunnel = await world.tunnel(host, up.port, { tls: { maxVersion: 'TLSv1.2' } })
  const ask = request(host, up.port, '/')
  expect(await sayAndRead(tunnel, ask)).toContain('fine')
  const negotiated = await new Promise((resolve) => {
    tunnel.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
    tunnel.renegotiate({}, (error) => resolve(error === null ? 'anew' : error.message))
  })
  expect(negotiated).toBe('ERR_SSL_NO_RENEGOTIATION')
  expect(await sayAndRead(await world.tunnel(host, up.port), ask)).toContain('fine')
})

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'row 38: a client of %s that breaks its TLS behind the handshake has its tunnel closed at once, with what is under way in it',
  async (version) => {
    await using world = await makeWorld()
    const up = await world.upstream(() => undefined)
    await world.setRules([rule(host, up.port)])
    const raw = await world.connect()
    await sayAndRead(raw, connectRequest(host, up.port, 'orders', world.lease))
    const heard = listenTo(raw)
    const through = new Duplex({
      read: () => undefined,
      write: (piece: Buffer, _encoding, done) => void raw.write(piece, () => done()),
    })
    raw.on('data', (piece: Buffer) => through.push(piece))
    const tunnel = connectTls({ socket: through, servername: host, ca: world.ca, maxVersion: version })
    tunnel.on('error', () => undefined)
    await once(tunnel, 'secureConnect')
    tunnel.write(request(host, up.port, '/'))
    await expect.poll(() => up.seen.length).toBe(1)
    raw.write(Buffer.from([23, 3, 3, 0, 32, ...Array<number>(32).fill(0)]))
    await expect.poll(() => heard.closed).toBe(true)
    expect(await world.outcome()).toMatchObject({ failure: 'client_closed' })
  },
)

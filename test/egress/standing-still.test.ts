import { execFileSync } from 'node:child_process'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { clientHello } from '../support/client-hello.ts'
import { connectRequest, makeWorld, request, rule, sayAndRead } from '../support/egress-world.ts'
import { listenLocally } from '../support/listening.ts'

/** A proxy that stands still, as on a machine that sleeps, hears nothing of what is withdrawn meanwhile. */

const host = 'orders.example.com'

/** A world in which the lease ends while its proxy stands still in the middle of dialling, once that is asked for. */
async function standingStill() {
  let stand = false
  const world = await makeWorld({
    // No notice comes, and nobody looks before the connection stands.
    watchMs: 60_000,
    dial: async (to) => {
      const socket = await systemDial(to)
      if (!stand) return socket
      execFileSync(process.execPath, ['--input-type=module', '--eval', end])
      // A look is good for half a second.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
      return socket
    },
  })
  const end = `import pg from 'pg'
    const client = new pg.Client({ connectionString: '${world.store.url}' })
    await client.connect()
    await client.query('UPDATE leases SET ended_at = now()')
    await client.end()`
  const fromNowOn = () => {
    stand = true
  }
  return { world, fromNowOn }
}

test('invariant 5: a lease that ends while the proxy stands still in the middle of dialling lets nothing out', async () => {
  const { world, fromNowOn } = await standingStill()
  await using _world = world
  const up = await world.upstream((_req, res) => res.end('ok'))
  await world.setRules([rule(host, up.port)])
  const tunnel = await world.tunnel(host, up.port)
  fromNowOn()
  const answer = await sayAndRead(tunnel, request(host, up.port, '/'))
  expect(answer).toMatch(/^HTTP\/1\.1 403 [^]*"reason":"revoked"/)
  expect(up.seen).toEqual([])
  expect(await world.outcome()).toMatchObject({ status: null, failure: 'revoked' })
})

test('invariant 5: a tunnel that is passed through does not begin on a lease that ended while it was dialled', async () => {
  const { world, fromNowOn } = await standingStill()
  await using _world = world
  const heard: Buffer[] = []
  const server = createServer((socket) => void socket.on('data', (piece) => heard.push(piece)))
  const port = await listenLocally(server)
  await world.setRules([{ host, port, intercept: false, address: '127.0.0.1' }])
  const socket = await world.connect()
  const head = await sayAndRead(socket, connectRequest(host, port, 'orders', world.lease))
  expect(head).toContain('200 Connection Established')
  fromNowOn()
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(await clientHello(host))
  // One that was let through is ended by nobody.
  await Promise.race([closed, sleep(3_000)])
  server.close()
  expect(heard).toEqual([])
  expect(await world.outcome()).toMatchObject({ failure: 'revoked' })
})

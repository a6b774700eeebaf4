import { expect, test } from 'vitest'
import { giveBackMemory } from '../../src/egress/index.ts'
import { createConnect, createTrust } from '../../src/egress/upstream/connection.ts'
import { systemDial } from '../../src/egress/upstream/dial.ts'
import { makeWorld } from '../support/egress-world.ts'

const host = 'orders.example.com'

test('a TLS session that is kept to be resumed keeps no more memory than it has bytes', async () => {
  await using world = await makeWorld()
  const up = await world.upstream((_req, res) => res.end())
  const trust = createTrust({ trustedCas: [world.upstreamCa], systemRoots: false })
  const connect = createConnect({ dial: systemDial, trust, dialTimeoutMs: 5_000 })
  const kept = () => {
    giveBackMemory()
    return process.memoryUsage().arrayBuffers
  }
  const before = kept()
  for (let n = 0; n < 64; n += 1) {
    const place = { secure: true, host, port: up.port, addresses: ['127.0.0.1'], poolKey: `${n}` }
    const socket = await connect(place, ['http/1.1'])
    await new Promise((resolve) => socket.once('session', resolve))
    socket.destroy()
    // Whatever else a proxy does meanwhile uses up the blocks that Node cuts small buffers from.
    for (let used = 0; used < Buffer.poolSize; used += 1_024) Buffer.allocUnsafe(1_024)
  }
  expect(kept() - before).toBeLessThan(16 * Buffer.poolSize)
})

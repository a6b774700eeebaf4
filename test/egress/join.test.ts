import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { join, through } from '../../src/egress/traffic/join.ts'

/** An upstream's connection, and the upstream's own end of it. */
async function pair() {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const upstream = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = await once(server, 'connection')
  server.close()
  far.on('error', () => undefined)
  return { upstream, far: far as Socket }
}

/** A client that asks for nothing; one that does not read takes its first piece and never says that it is done. */
function makeClient({ reads }: { reads: boolean }): Duplex {
  return new Duplex({
    highWaterMark: 1_000,
    read: () => undefined,
    write: (_chunk, _encoding, done) => {
      if (reads) done()
    },
  })
}

async function joined(client: Duplex, idleMs: number) {
  const { upstream, far } = await pair()
  const pass = () => through((chunk, push) => push(chunk))
  const ended = new Promise((resolve) =>
    join({
      client,
      upstream,
      outward: pass(),
      inward: pass(),
      idleMs,
      complete: () => true,
      broken: () => 'broken',
      ended: resolve,
    }),
  )
  return { upstream, far, ended }
}

test('a client that reads nothing does not keep what its upstream has left behind', async () => {
  const client = makeClient({ reads: false })
  const { upstream, far, ended } = await joined(client, 300)
  const gone = once(upstream, 'close')
  // More than the client takes, and little enough to wait between the two of them once the upstream has gone.
  far.write(Buffer.alloc(100_000))
  far.end()
  await gone
  expect(await ended).toBe('client_closed')
  expect(client.destroyed).toBe(true)
})

test('who says nothing any more while its client reads is the one that took too long', async () => {
  const { far, ended } = await joined(makeClient({ reads: true }), 300)
  far.write('a beginning')
  expect(await ended).toBe('upstream_timeout')
  far.destroy()
})

test('what passes either way keeps both', async () => {
  const client = makeClient({ reads: true })
  const { far, ended } = await joined(client, 1_000)
  let over = false
  void ended.then(() => (over = true))
  for (let i = 0; i < 15; i++) {
    if (i % 2 === 0) client.push('x')
    else far.write('x')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(over).toBe(false)
  far.end()
  expect(await ended).toBe(null)
})

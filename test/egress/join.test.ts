import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, test, vi } from 'vitest'
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

async function joined(
  client: Duplex,
  idleMs: number,
  { turns, isMeant = true }: { turns?: Parameters<typeof through>[1]; isMeant?: boolean } = {},
) {
  const { upstream, far } = await pair()
  const ended = new Promise((resolve) =>
    join({
      client,
      upstream,
      outward: through((chunk, push) => push(chunk)),
      inward: through((chunk, push) => push(chunk), turns),
      idleMs,
      complete: () => isMeant,
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

test('a client that does not end once its upstream has is closed after a while', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const client = makeClient({ reads: true })
    const { far, ended } = await joined(client, 60_000)
    far.end()
    expect(await ended).toBeNull()
    expect(client.destroyed).toBe(false)
    vi.advanceTimersByTime(5_000)
    expect(client.destroyed).toBe(true)
  } finally {
    vi.useRealTimers()
  }
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

test.each([
  ['it was meant to end there', true, null],
  ['it was not', false, 'upstream_failed'],
])(
  'what came before an upstream broke off goes on to the client, though it has to wait: %s',
  async (_, isMeant, failure) => {
    let got = 0
    const client = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        got += chunk.length
        done()
      },
    })
    let waiting: (() => void)[] | undefined = []
    const turns = (step: () => void) => void (waiting === undefined ? step() : waiting.push(step))
    const { upstream, far, ended } = await joined(client, 30_000, { turns, isMeant })
    const gone = new Promise((resolve) => upstream.once('close', resolve))
    // The first piece waits for its turn, the next behind it, and the last has not even been taken from the connection.
    for (const sent of [40_000, 80_000, 100_000]) {
      far.write(Buffer.alloc(sent - upstream.bytesRead))
      await expect.poll(() => upstream.bytesRead).toBe(sent)
    }
    far.resetAndDestroy()
    await gone
    expect(got).toBe(0)
    const steps = waiting
    waiting = undefined
    for (const step of steps) step()
    expect(await ended).toBe(failure)
    expect(got).toBe(100_000)
  },
)

test('what an upstream has sent before it ended unasked still leaves for a client that takes its time', async () => {
  let take: () => void = () => undefined
  const client = new Duplex({
    read: () => undefined,
    write: (_chunk, _encoding, done) => {
      take = done
    },
  })
  const { far, ended } = await joined(client, 30_000, { isMeant: false })
  far.end('the last word')
  expect(await ended).toBe('upstream_failed')
  const taken = once(client, 'finish')
  take()
  await taken
})

test.each(['end', 'resetAndDestroy'] as const)(
  'of an upstream that hangs up for a client that has ended its side, the client was first: %s',
  async (leave) => {
    const client = makeClient({ reads: true })
    const { far, ended } = await joined(client, 30_000, { isMeant: false })
    const heard = once(far, 'end')
    far.resume()
    client.push(null)
    await heard
    far[leave]()
    expect(await ended).toBe('client_closed')
  },
)

test('a client that ends its side because its upstream has is not who was first', async () => {
  const client = makeClient({ reads: true })
  let last: (() => void) | undefined
  const turns = (step: () => void) => void (last = step)
  const { upstream, far, ended } = await joined(client, 30_000, { isMeant: false, turns })
  far.end('the last word')
  await once(upstream, 'end')
  client.push(null)
  await once(client, 'end')
  last?.()
  expect(await ended).toBe('upstream_failed')
})

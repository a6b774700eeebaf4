import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readFairly } from '../../src/egress/bounds/fair-reading.ts'
import { createLoopShare } from '../../src/egress/bounds/loop-share.ts'
import { msPerPiece, worked } from '../../src/egress/bounds/work.ts'

/** A connection that is read fairly, and its other end. */
async function pair(part = createLoopShare().of('alice')) {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  })
  const [far] = (await once(server, 'connection')) as [Socket]
  server.close()
  far.on('error', () => undefined)
  readFairly(socket, part)
  return { socket, far, part }
}

/** Reads as what deals with crumbs does: each byte is a piece. */
function readCrumbs(socket: Socket) {
  const slices: number[] = []
  socket.on('data', (slice: Buffer) => {
    slices.push(slice.length)
    worked(slice.length * msPerPiece)
  })
  const bytes = () => slices.reduce((sum, one) => sum + one, 0)
  return { slices, bytes }
}

test('what is quick to deal with is told as it comes, and at once', async () => {
  const { socket, far } = await pair()
  const pieces: number[] = []
  socket.on('data', (piece: Buffer) => pieces.push(piece.length))
  far.write(Buffer.alloc(2_000))
  await expect.poll(() => pieces).toEqual([2_000])
  for (let n = 0; n < 5; n += 1) far.write(Buffer.alloc(100_000))
  await expect.poll(() => pieces.reduce((sum, one) => sum + one, 0)).toBe(502_000)
  expect(pieces.length).toBeLessThan(40)
  socket.destroy()
  far.destroy()
})

test('what takes long is told in slices of a quarter of a millisecond, and no more is read while some of it waits', async () => {
  const { socket, far } = await pair()
  const { slices, bytes } = readCrumbs(socket)
  far.write(Buffer.alloc(200_000))
  await expect.poll(bytes).toBeGreaterThan(6_000)
  // 64 KiB at most of what was sent is in this process.
  expect(socket.bytesRead - bytes()).toBeLessThanOrEqual(64 * 1024)
  await expect.poll(bytes, { timeout: 10_000 }).toBe(200_000)
  const [first, ...others] = slices
  expect(first).toBe(4_096)
  expect(Math.max(...others)).toBe(256)
  socket.destroy()
  far.destroy()
})

test('of what a slow reader has not read yet there is never more here than Node would keep', async () => {
  const { socket, far } = await pair()
  let told = 0
  let most = 0
  socket.on('data', (piece: Buffer) => {
    told += piece.length
    most = Math.max(most, socket.bytesRead - told)
    socket.pause()
    setImmediate(() => socket.resume())
  })
  far.write(Buffer.alloc(4 * 1024 * 1024))
  await expect.poll(() => told, { timeout: 20_000 }).toBe(4 * 1024 * 1024)
  // Twice 64 KiB: what is kept, and what one read brought beyond it.
  expect(most).toBeLessThanOrEqual(128 * 1024)
  socket.destroy()
  far.destroy()
})

test('forty connections of one person get no more of a turn than one, and another person waits for nothing', async () => {
  const share = createLoopShare()
  const all = await Promise.all(Array.from({ length: 40 }, () => pair(share.of('alice'))))
  let told = 0
  for (const { socket } of all) {
    socket.on('data', (slice: Buffer) => {
      told += slice.length
      worked(slice.length * msPerPiece)
      for (const until = performance.now() + slice.length * msPerPiece; performance.now() < until; );
    })
  }
  const bob = await pair(share.of('bob'))
  let heard = 0
  bob.socket.on('data', (piece: Buffer) => (heard += piece.length))
  for (const { far } of all) far.write(Buffer.alloc(10_000))
  // The first of each connection is told by four thousand bytes, before anything is known of it.
  await expect.poll(() => told, { interval: 1 }).toBeGreaterThan(40 * 4_096)
  bob.far.write('hello')
  let most = 0
  while (heard < 5) {
    const before = told
    await turn()
    most = Math.max(most, told - before)
  }
  expect(most).toBeLessThan(1_000)
  expect(told).toBeLessThan(300_000)
  await expect.poll(() => told, { timeout: 10_000 }).toBe(400_000)
  for (const { socket, far } of [...all, bob]) {
    socket.destroy()
    far.destroy()
  }
})

test('whatever comes, and however it is read, comes whole and in its order, with its end behind it', async () => {
  const step = fc.oneof(
    fc.record({ send: fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 1, max: 200_000 })) }),
    fc.constantFrom('pause', 'resume', 'turn', 'sleep'),
  )
  const rests = {
    none: undefined,
    tick: (next: () => void) => process.nextTick(next),
    turn: (next: () => void) => void setImmediate(next),
    ms: (next: () => void) => void setTimeout(next, 1),
  }
  const rest = fc.constantFrom(...(Object.keys(rests) as (keyof typeof rests)[]))
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.array(rest),
      fc.boolean(),
      async (steps, how, slow) => {
        const { socket, far } = await pair()
        const sent: Buffer[] = []
        const got: Buffer[] = []
        socket.on('data', (piece: Buffer) => {
          got.push(piece)
          if (slow) worked(piece.length * (msPerPiece / 50))
          const resting = rests[how[got.length % how.length] ?? 'none']
          if (resting === undefined) return
          socket.pause()
          resting(() => void socket.resume())
        })
        const ended = once(socket, 'end')
        let next = 0
        for (const one of steps) {
          if (typeof one === 'object') {
            const piece = Buffer.alloc(one.send, String((next += 1)))
            sent.push(piece)
            far.write(piece)
          } else if (one === 'turn') await turn()
          else if (one === 'sleep') await sleep(2)
          else socket[one]()
        }
        far.end()
        socket.resume()
        await ended
        expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true)
        socket.destroy()
        far.destroy()
      },
    ),
    { numRuns: 100 },
  )
}, 60_000)

test.each(['an end', 'a break'])(
  '%s comes behind all that came before it, also while that waits',
  async (how) => {
    const { socket, far } = await pair()
    const { bytes } = readCrumbs(socket)
    const events: string[] = []
    for (const event of ['end', 'error'] as const) socket.on(event, () => events.push(`${event} ${bytes()}`))
    far.write(Buffer.alloc(60_000))
    await expect.poll(bytes).toBeGreaterThan(4_096)
    await expect.poll(() => socket.bytesRead).toBe(60_000)
    if (how === 'an end') far.end()
    else socket.destroy(new Error('reset'))
    await expect
      .poll(() => events.at(-1), { timeout: 5_000 })
      .toBe(`${how === 'an end' ? 'end' : 'error'} 60000`)
    socket.destroy()
    far.destroy()
  },
)

test('what breaks while nobody reads is told at once, with what came before it to be had', async () => {
  const { socket, far } = await pair()
  const { bytes } = readCrumbs(socket)
  far.write('a')
  await expect.poll(bytes).toBe(1)
  socket.pause()
  far.write(Buffer.alloc(30_000))
  await expect.poll(() => socket.bytesRead).toBe(30_001)
  far.resetAndDestroy()
  await once(socket, 'error')
  expect(bytes()).toBe(1)
  expect((socket.read() as Buffer | null)?.length).toBe(30_000)
})

test('what is given up on this side is told no more, and ends at once', async () => {
  const { socket, far } = await pair()
  const { bytes } = readCrumbs(socket)
  far.write(Buffer.alloc(60_000))
  await expect.poll(bytes).toBeGreaterThan(4_096)
  const before = bytes()
  socket.destroy()
  await once(socket, 'close')
  await sleep(20)
  expect(bytes()).toBe(before)
  far.destroy()
})

test('bytes belong to whoever a connection was given to last', async () => {
  const share = createLoopShare()
  const { socket, far } = await pair(share.of('nameless'))
  readCrumbs(socket)
  readFairly(socket, share.of('alice'))
  far.write(Buffer.alloc(3_000))
  await once(socket, 'data')
  const now = performance.now()
  expect(share.of('nameless').isFree(now)).toBe(true)
  expect(share.of('alice').isFree(now)).toBe(false)
  socket.destroy()
  far.destroy()
})

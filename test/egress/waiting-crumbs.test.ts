import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { Writable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readFairly } from '../../src/egress/bounds/fair-reading.ts'
import { createLoopShare } from '../../src/egress/bounds/loop-share.ts'
import { putWaitingCrumbsTogether } from '../../src/egress/bounds/waiting-crumbs.ts'
import { giveBackMemory } from '../../src/egress/index.ts'
import { through } from '../../src/egress/traffic/join.ts'

/** What takes what is written to it only as it is told. */
function slowWritable() {
  const taken: Buffer[] = []
  let done: (() => void) | undefined
  const to = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      taken.push(chunk)
      done = callback
    },
  })
  putWaitingCrumbsTogether(to)
  return {
    to,
    taken,
    text: () => Buffer.concat(taken).toString('latin1'),
    /** Takes one more; whether there was one. */
    takeOne() {
      const callback = done
      done = undefined
      callback?.()
      return callback !== undefined
    },
  }
}

const crumb = () => Buffer.from(new ArrayBuffer(1)).fill('x')

test('what was written arrives whole and in its order, however it was cut and whenever it is taken', async () => {
  const written = fc.oneof(
    fc.nat(3_000).map((length) => ({ length, isText: false })),
    fc.nat(40).map((length) => ({ length, isText: true })),
    fc.constant('take' as const),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(written, { maxLength: 200 }), async (steps) => {
      const slow = slowWritable()
      let all = ''
      for (const [n, step] of steps.entries()) {
        if (step === 'take') {
          slow.takeOne()
          await turn()
          continue
        }
        const text = String.fromCharCode(33 + (n % 90)).repeat(step.length)
        all += text
        if (step.isText) slow.to.write(text, 'latin1')
        else slow.to.write(Buffer.from(text))
      }
      slow.to.end('end')
      while (slow.takeOne()) await turn()
      expect(slow.text()).toBe(`${all}end`)
      expect(slow.to.writableFinished).toBe(true)
    }),
    { numRuns: 50 },
  )
})

test('a crumb that nothing waits before is written at once, and so are a few behind it', () => {
  const slow = slowWritable()
  for (let n = 0; n < 5; n += 1) slow.to.write(crumb())
  while (slow.takeOne());
  expect(slow.taken).toHaveLength(5)
  slow.to.write(crumb())
  expect(slow.taken).toHaveLength(6)
})

test('crumbs that wait are one piece once what stood before them has left', async () => {
  const slow = slowWritable()
  for (let n = 0; n < 1_000; n += 1) slow.to.write(crumb())
  while (slow.takeOne()) await turn()
  expect(slow.taken.length).toBeLessThan(20)
  expect(slow.text()).toHaveLength(1_000)
})

test('who writes on until it is told not to is told when it may, and each write of which it asks is told', async () => {
  const slow = slowWritable()
  let drained = 0
  slow.to.on('drain', () => (drained += 1))
  let bytes = 0
  while (slow.to.write(crumb())) bytes += 1
  expect(bytes).toBeGreaterThanOrEqual(slow.to.writableHighWaterMark - 1)
  let isTold = false
  slow.to.write('x', () => (isTold = true))
  while (slow.takeOne()) await turn()
  expect([drained, isTold, slow.text().length]).toEqual([1, true, bytes + 2])
})

test('what is given up writes nothing more', async () => {
  const slow = slowWritable()
  slow.to.on('error', () => undefined)
  for (let n = 0; n < 100; n += 1) slow.to.write(crumb())
  slow.to.destroy()
  slow.takeOne()
  await turn()
  expect(slow.taken).toHaveLength(1)
})

/** What is in use of memory, in bytes. */
function used(): number {
  giveBackMemory()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** As many as Node lets wait. */
const bytes = 64 * 1024

test.each<[what: string, make: () => Promise<(piece: Buffer) => unknown>]>([
  [
    'written to whom it is slow to take them',
    async () => {
      const { to } = slowWritable()
      return (piece) => to.write(piece)
    },
  ],
  [
    'in a connection that nobody reads',
    async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
      const [far] = await once(server, 'connection')
      server.close()
      socket.on('close', () => far.destroy())
      setTimeout(() => socket.destroy(), 30_000).unref()
      readFairly(socket, createLoopShare().of('alice'))
      socket.pause()
      return (piece) => socket.push(piece)
    },
  ],
  [
    'looked at and not read yet',
    async () => {
      const looked = through((chunk, push) => push(chunk))
      looked.pause()
      return (piece) => looked.write(piece)
    },
  ],
])('row 38: bytes that wait one by one, %s, take about as much memory as they are bytes', async (_, make) => {
  const waits = await Promise.all(Array.from({ length: 16 }, make))
  await turn()
  const before = used()
  // In turns of their own, as they come.
  for (let n = 0; n < bytes; n += 1) {
    for (const wait of waits) wait(crumb())
    if (n % 16 === 0) await turn()
  }
  const each = (used() - before) / waits.length
  expect(waits).toHaveLength(16)
  // Each of them took 250 bytes and more, and there are three places where they wait.
  expect(each).toBeLessThan(3 * bytes)
})

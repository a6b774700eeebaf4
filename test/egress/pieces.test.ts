import fc from 'fast-check'
import { expect, test } from 'vitest'
import { giveBackMemory } from '../../src/egress/index.ts'
import { KeptBody } from '../../src/egress/traffic/kept.ts'
import { Pieces } from '../../src/egress/traffic/pieces.ts'

test('what was kept in pieces is what came, in its order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 40 }), (lengths) => {
      const pieces = new Pieces()
      // Some of them a part of more.
      const came = lengths.map((length, n) =>
        Buffer.alloc(n % 2 === 0 ? length : 10 * length, n).subarray(0, length),
      )
      for (const piece of came) pieces.push(piece)
      expect(pieces.joined().equals(Buffer.concat(came))).toBe(true)
      expect(pieces.bytes).toBe(Buffer.concat(came).length)
    }),
  )
})

/** What is in use of memory, in bytes. */
function used(): number {
  giveBackMemory()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const bytes = 64 * 1024

test.each<[what: string, make: () => { push(piece: Buffer): void }]>([
  ['a body that is held back', () => new Pieces()],
  [
    'a body that may be sent again',
    () => {
      const kept = KeptBody.of({ content: { length: bytes } } as never)
      if (kept === undefined) throw new Error('it is not kept')
      return kept
    },
  ],
])('row 38: %s and comes a byte at a time takes about as much memory as it has bytes', (_, make) => {
  const before = used()
  const bodies = Array.from({ length: 16 }, () => {
    const body = make()
    for (let n = 0; n < bytes; n += 1) body.push(Buffer.from(new ArrayBuffer(1)))
    return body
  })
  expect(used() - before).toBeLessThan(2 * bodies.length * bytes)
})

test('row 38: a body of small parts of what was read takes no more memory for the rest of that', () => {
  const before = used()
  const body = new Pieces()
  for (let n = 0; n < 128; n += 1) body.push(Buffer.from(new ArrayBuffer(64 * 1024), 0, 4 * 1024))
  expect(used() - before).toBeLessThan(3 * body.bytes)
})

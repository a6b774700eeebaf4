import fc from 'fast-check'
import { expect, test } from 'vitest'
import { giveBackMemory } from '../../src/egress/index.ts'
import { WaitingBytes } from '../../src/egress/secrets/waiting-bytes.ts'

test('bytes leave once and in order, masked where they are, and stay as they came for as long as they are remembered', () => {
  const steps = fc.array(
    fc.record({
      size: fc.nat(5_000),
      mask: fc.nat(8_000),
      length: fc.nat(60),
      take: fc.nat(9_000),
      forget: fc.nat(9_000),
    }),
    { maxLength: 30 },
  )
  fc.assert(
    fc.property(steps, (each) => {
      const bytes = new WaitingBytes()
      const came: number[] = []
      const leaves: number[] = []
      const left: Buffer[] = []
      let forgotten = 0
      for (const { size, mask, length, take, forget } of each) {
        const piece = Buffer.from(Array.from({ length: size }, (_, i) => 97 + ((came.length + i) % 26)))
        bytes.add(piece)
        came.push(...piece)
        leaves.push(...piece)
        const from = Math.max(bytes.left, bytes.end - mask)
        const to = Math.min(bytes.end, from + length)
        bytes.mask(from, to)
        leaves.fill(42, from, to)
        left.push(Buffer.from(bytes.take(Math.max(bytes.left, bytes.end - take))))
        forgotten = Math.max(forgotten, Math.min(bytes.left, Math.max(0, bytes.end - forget)))
        bytes.forget(forgotten)
        const known = [...bytes.from(forgotten)]
        expect(known.reduce((sum, part) => sum + part.bytes.length, 0)).toBe(bytes.end - forgotten)
        for (const { at, bytes: part } of known)
          expect(part.equals(Buffer.from(came.slice(at, at + part.length)))).toBe(true)
      }
      left.push(bytes.take(bytes.end))
      expect(Buffer.concat(left).equals(Buffer.from(leaves))).toBe(true)
    }),
    { numRuns: 300 },
  )
})

test('of a large piece that has left but for a few bytes only these are kept', () => {
  const bytes = new WaitingBytes()
  bytes.add(Buffer.alloc(256 * 1024, 'a'))
  bytes.take(bytes.end)
  bytes.forget(bytes.end - 7)
  const [last] = [...bytes.from(0)]
  expect(last?.bytes.toString()).toBe('aaaaaaa')
  expect(last?.bytes.buffer.byteLength).toBeLessThanOrEqual(Buffer.poolSize)
})

test('bytes that wait and came one by one keep no more memory than they are', () => {
  const used = () => {
    giveBackMemory()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const before = used()
  const length = 16 * 1024
  const waiting = Array.from({ length: 16 }, () => {
    const bytes = new WaitingBytes()
    for (let n = 0; n < length; n += 1) bytes.add(Buffer.from(new ArrayBuffer(1)))
    return bytes
  })
  // Each two thousand of them kept a block of 64 KiB.
  expect((used() - before) / waiting.length).toBeLessThan(4 * length)
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compileSecrets, Scrubber } from '../../src/egress/secrets/scrub.ts'
import { spellings } from '../support/spellings.ts'

const secret = 'S3cr3t+Value/for="orders"&<x>\\-0123456789'

function scrub(text: Buffer, cuts: number[], secrets = [secret]): { out: Buffer; hits: number } {
  const scrubber = new Scrubber(compileSecrets(secrets))
  const points = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b)
  const out: Buffer[] = []
  let from = 0
  for (const to of [...points, text.length]) {
    out.push(Buffer.from(scrubber.push(text.subarray(from, to))))
    from = to
  }
  out.push(scrubber.end())
  return { out: Buffer.concat(out), hits: scrubber.hits }
}

test('row 7: no spelling of a secret survives any cutting, and everything else does', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...spellings),
      fc.string({ maxLength: 30 }),
      fc.string({ maxLength: 30 }),
      fc.array(fc.nat(400), { maxLength: 12 }),
      ([, spell], before, after, cuts) => {
        const text = Buffer.from(`${before}${spell(secret)}${after}`)
        const { out, hits } = scrub(text, cuts)
        expect(hits).toBeGreaterThan(0)
        expect(out.length).toBe(text.length)
        for (const [, other] of spellings) expect(out.includes(other(secret))).toBe(false)
        expect(out.subarray(0, Buffer.byteLength(before))).toEqual(Buffer.from(before))
        expect(out.subarray(out.length - Buffer.byteLength(after))).toEqual(Buffer.from(after))
      },
    ),
    { numRuns: 600 },
  )
})

test('a text without the secret passes unharmed, however it is cut', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.array(fc.nat(300), { maxLength: 10 }),
      (bytes, cuts) => {
        expect(scrub(Buffer.from(bytes), cuts)).toEqual({ out: Buffer.from(bytes), hits: 0 })
      },
    ),
  )
})

test('what is masked does not depend on how the bytes were cut, repetitive secrets included', () => {
  const letters = fc
    .array(fc.constantFrom('a', 'b', 'ab', 'aab'), { minLength: 1, maxLength: 30 })
    .map((parts) => parts.join(''))
  fc.assert(
    fc.property(
      letters,
      letters,
      letters,
      fc.array(fc.nat(60), { maxLength: 8 }),
      (text, first, second, cuts) => {
        const whole = scrub(Buffer.from(text), [], [first, second])
        expect(scrub(Buffer.from(text), cuts, [first, second]).out).toEqual(whole.out)
      },
    ),
    { numRuns: 1_000 },
  )
})

test('bytes that cannot begin a secret are let go at once', () => {
  const scrubber = new Scrubber(compileSecrets(['abcdefgh12345678']))
  expect(scrubber.push(Buffer.from('data: hello\n\n')).toString()).toBe('data: hello\n\n')
  expect(scrubber.push(Buffer.from('x abcd')).toString()).toBe('x ')
  expect(scrubber.push(Buffer.from('!')).toString()).toBe('abcd!')
})

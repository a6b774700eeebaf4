import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EvenScrubber } from '../../src/egress/secrets/even-scrubber.ts'
import { LetterStream } from '../../src/egress/secrets/letter-stream.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { writingsOf } from '../../src/egress/secrets/writings.ts'
import { spellings } from '../support/spellings.ts'

const secret = 'S3cr3t+Value/for="orders"&<x>\\-0123456789'

test('row 7: a stream that pauses anywhere lets go of no more than the beginning of a secret', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...spellings),
      fc.constantFrom(secret, 'pa55word', 'x#;9!@[7', '0f1e2d3c4b5a69788796a5b4c3d2e1f0'),
      fc.stringMatching(/^[^*]{0,20}$/),
      fc.constantFrom(' ', ' k=', ' %'),
      fc.array(fc.record({ at: fc.nat(300), pauses: fc.boolean() }), { maxLength: 40 }),
      ([, spell], value, first, second, cuts) => {
        const spelt = spell(value)
        const text = Buffer.from(`${first}${second}${spelt} behind`)
        const scrubber = new EvenScrubber(compileSecrets([value]))
        const out: Buffer[] = []
        let from = 0
        for (const { at, pauses } of cuts.sort((a, b) => a.at - b.at)) {
          out.push(scrubber.push(text.subarray(from, at)))
          from = Math.max(from, Math.min(at, text.length))
          scrubber.mark()
          if (pauses) out.push(scrubber.takeMarked())
          expect(Buffer.concat(out).length + scrubber.waiting).toBe(from)
        }
        out.push(scrubber.push(text.subarray(from)), scrubber.end())
        const got = Buffer.concat(out)
        const whole = new EvenScrubber(compileSecrets([value]))
        const masked = Buffer.concat([whole.push(text), whole.end()])
        expect(scrubber.hits).toBe(whole.hits)
        expect(got.length).toBe(text.length)
        const shown = [...got.keys()].filter((i) => got[i] !== masked[i])
        expect(shown).toEqual([...shown.keys()].map((i) => i + masked.indexOf('*')))
        const stream = new LetterStream(
          writingsOf(new Set()).root,
          compileSecrets([value]).search.prints.alphabet,
        )
        stream.read(got.subarray(shown[0], (shown.at(-1) ?? -1) + 1))
        // A writing that has begun is none. Two letters may have been taken for the end of one, and the next be known three at a time.
        const most = Math.min(7, Math.floor(value.length / 4)) + (second === ' ' ? 0 : 3)
        expect(stream.ends.at(-1)).toBeLessThanOrEqual(most)
      },
    ),
    { numRuns: 3_000 },
  )
})

test('in a pause nothing waits that could not tell anything, and what could waits on', () => {
  const scrubber = new EvenScrubber(compileSecrets([secret]))
  const lets = (text: string) => {
    scrubber.push(Buffer.from(text))
    scrubber.mark()
    return String(scrubber.takeMarked())
  }
  expect(lets('all\0')).toBe('all\0')
  expect(lets('and S3cr3t+V')).toBe('and S3cr3t+V')
  expect(lets('a')).toBe('')
  // With as many letters as are told of at once, it is known to be another one.
  expect(lets('lidatio')).toBe('')
  expect(lets('n')).toBe('alidation')
  expect(lets('S3cr3t+Va')).toBe('')
  const rest = [scrubber.push(Buffer.from(secret.slice(9))), scrubber.end()].join('')
  expect(rest).toBe('*'.repeat(secret.length))
})

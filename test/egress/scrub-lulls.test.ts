import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EvenScrubber } from '../../src/egress/secrets/even-scrubber.ts'
import { LetterStream } from '../../src/egress/secrets/letter-stream.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { root } from '../../src/egress/secrets/writings.ts'
import { spellings } from '../support/spellings.ts'

const secret = 'S3cr3t+Value/for="orders"&<x>\\-0123456789'

/** How many letters of a spelling say so many characters of a secret. */
function lettersOf(name: string, characters: number): number {
  return Math.ceil(characters * (/hex/i.test(name) ? 2 : /base64|basic/i.test(name) ? 4 / 3 : 1))
}

test('row 7: a stream that pauses anywhere lets go of no more than the beginning of a secret', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...spellings),
      fc.constantFrom(secret, 'pa55word', 'x#;9!@[7', '0f1e2d3c4b5a69788796a5b4c3d2e1f0'),
      fc.stringMatching(/^[^*]{0,20}$/),
      fc.constantFrom(' ', ' k=', ' %'),
      fc.array(fc.record({ at: fc.nat(300), pauses: fc.boolean() }), { maxLength: 40 }),
      ([name, spell], value, first, second, cuts) => {
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
        const stream = new LetterStream(root, compileSecrets([value]).search.prints.alphabet)
        stream.read(got.subarray(shown[0], (shown.at(-1) ?? -1) + 1))
        // A writing that has begun is none. Two letters may have been taken for the end of one, and the next be known three at a time.
        const atOnce = Math.min(7, Math.floor(value.length / 4)) + 1 + (second === ' ' ? 0 : 3)
        const most = lettersOf(name, atOnce) - 1
        expect(stream.ends.at(-1)).toBeLessThanOrEqual(most)
      },
    ),
    { numRuns: 3_000 },
  )
})

/** Of several secrets, each of what stands in a text and what goes out of it in pauses though it would be masked. */
function shownInPauses(secrets: string[], text: Buffer, cuts: readonly number[]): string[] {
  const forms = compileSecrets(secrets)
  const [whole, scrubber] = [new EvenScrubber(forms), new EvenScrubber(forms)]
  const masked = Buffer.concat([whole.push(text), whole.end()])
  const out: Buffer[] = []
  let from = 0
  for (const to of [...cuts].sort((a, b) => a - b)) {
    out.push(scrubber.push(text.subarray(from, to)))
    from = Math.max(from, Math.min(to, text.length))
    scrubber.mark()
    out.push(scrubber.takeMarked())
  }
  out.push(scrubber.push(text.subarray(from)), scrubber.end())
  const got = Buffer.concat(out)
  const runs = Array.from(got, (byte, at) => (byte === masked[at] ? '\0' : String.fromCharCode(byte))).join(
    '',
  )
  return runs.split(/\0+/).filter((run) => run !== '')
}

test('row 7: a secret within another that pauses cut leaves no more of that other in sight than of one alone', () => {
  const inner = 'orders'
  const outer = 'wJalrXUtnFEMI7K7MDENGbPxRfiCYorders7H2KEYa'
  fc.assert(
    fc.property(
      fc.constantFrom(...spellings),
      fc.constantFrom('', 'a', 'ab', 'abc'),
      fc.array(fc.nat(120), { minLength: 1, maxLength: 4 }),
      ([name, spell], before, cuts) => {
        const text = Buffer.from(`${before} ${spell(outer)} behind`, 'latin1')
        // A quarter of the shorter one, which is a character.
        const most = lettersOf(name, 2) - 1
        const { prints } = compileSecrets([outer, inner]).search
        for (const run of shownInPauses([outer, inner], text, cuts)) {
          const stream = new LetterStream(root, prints.alphabet)
          stream.read(Buffer.from(run, 'latin1'))
          expect([name, Math.max(most, stream.ends.at(-1) ?? 0)]).toEqual([name, most])
        }
      },
    ),
    { numRuns: 5_000 },
  )
})

test('row 7: a long token that a pause cuts within the last of its writings is not shown', () => {
  const token = `eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.${createHash('shake256', { outputLength: 300 }).update('a').digest('hex')}`
  const escaped = Array.from(token, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`).join(
    '',
  )
  const named = Array.from(token, (sign) => `&#x0000${sign.charCodeAt(0).toString(16)};`).join('')
  for (const written of [escaped, named])
    for (const before of ['', 'a', 'ab', 'abc'])
      for (let missing = 1; missing < 24; missing += 1) {
        const text = Buffer.from(`${before} ${written} behind`)
        const shown = shownInPauses([token], text, [before.length + 1 + written.length - missing])
        expect([before, missing, shown]).toEqual([before, missing, []])
      }
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

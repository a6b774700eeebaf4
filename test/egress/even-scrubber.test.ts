import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EvenScrubber } from '../../src/egress/secrets/even-scrubber.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { spellings } from '../support/spellings.ts'
import { mixed, mixedTwice } from '../support/writings.ts'

const secrets = [
  'S3cr3t+Value/for="orders"&<x>\\-0123456789',
  'a}b]c"d,e>f g=h==abcdef0123456789',
  'pa55word',
  'x#;9!@[7',
]
const endings = [
  '"',
  ']',
  ',',
  ' ',
  '>',
  '"}',
  ']}',
  '}}',
  ' }',
  '\n}',
  ':1}',
  ': -2.50}',
  'true}',
  'false}',
  'null}',
]
  .flatMap((end) => [`${end}\n`, `${end}\r\n`, `${end}\n\n`, `${end}\r\n\r\n`])
  .concat(['t', 'one', '.', '-', ' 5'].flatMap((end) => [`${end}\n\n`, `${end}\r\n\r\n`, `${end}\n\r\n`]))

test('behind the end of an event or of a line of JSON no form goes on, whatever stands before it', () => {
  const forms = new Map(secrets.map((secret) => [secret, compileSecrets([secret])]))
  fc.assert(
    fc.property(
      fc.constantFrom(...secrets),
      fc.constantFrom(
        ...spellings.map(([, spell]) => spell),
        (text: string) => text,
        (text: string) => mixed(text, draw()),
        (text: string) => mixed(Buffer.from(text).toString('base64'), draw()),
        (text: string) => mixedTwice(text, draw()),
      ),
      fc.nat(400),
      fc.constantFrom(...endings),
      fc.nat(3),
      (secret, spell, length, ending, cut) => {
        const found = forms.get(secret)
        if (found === undefined) throw new Error('not made ready')
        const text = Buffer.from(`${spell(secret).slice(0, length)}${ending}`, 'latin1')
        const scrubber = new EvenScrubber(found)
        scrubber.push(text.subarray(0, text.length - cut))
        scrubber.push(text.subarray(text.length - cut))
        expect(scrubber.waiting).toBe(0)
      },
    ),
    { numRuns: 20_000 },
  )
})

/** Numbers that differ from run to run; what is checked holds for each of them. */
function draw() {
  let state = Math.floor(Math.random() * 2 ** 31)
  return (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return (state >>> 8) % limit
  }
}

test('how much goes on depends on how much has come, and on nothing that is searched for but eight letters at once', () => {
  const secret = 'wJalrXUtnFEMI7K7MDENGbPxRfiCYEXAMPLEKEYa'
  const forms = compileSecrets([secret])
  // With all but three letters the end of a secret may have been read.
  const known = fc.nat(secret.length - 4)
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          pad: fc.integer({ min: 1, max: 20_000 }),
          known,
          marks: fc.boolean(),
          takes: fc.boolean(),
        }),
        { maxLength: 12 },
      ),
      (pieces) => {
        const right = new EvenScrubber(forms)
        const wrong = new EvenScrubber(forms)
        for (const { pad, known: letters, marks, takes } of pieces) {
          const guessed = letters % 8
          const guesses = [secret.slice(0, letters), secret.slice(0, letters - guessed) + '0'.repeat(guessed)]
          const went = [right, wrong].map((each, i) => {
            const sizes = [each.push(Buffer.from(`${'~'.repeat(pad)}${guesses[i]}`)).length]
            if (marks) each.mark()
            return takes ? [...sizes, each.takeMarked().length] : sizes
          })
          expect(went[0]).toEqual(went[1])
        }
        expect(right.isTelling).toBe(wrong.isTelling)
        expect(right.end().length).toBe(wrong.end().length)
      },
    ),
    { numRuns: 2_000 },
  )
})

test('what goes on is what was searched, whole and in its order, however it is cut and taken', () => {
  const [secret = ''] = secrets
  const forms = compileSecrets([secret])
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(fc.constantFrom(secret, '\n\n', '"}\n'), fc.string({ maxLength: 40 }), fc.nat(9_000)),
        {
          maxLength: 20,
        },
      ),
      fc.array(fc.record({ size: fc.nat(12_000), takes: fc.boolean() }), { minLength: 1, maxLength: 20 }),
      (parts, cuts) => {
        const text = Buffer.from(
          parts.map((part) => (typeof part === 'number' ? 'x'.repeat(part) : part)).join(''),
        )
        const even = new EvenScrubber(forms)
        const out: Buffer[] = []
        let at = 0
        for (let i = 0; at < text.length; i += 1) {
          const { size = 1, takes = false } = cuts[i % cuts.length] ?? {}
          out.push(even.push(text.subarray(at, at + size + 1)))
          at += size + 1
          even.mark()
          if (takes) out.push(even.takeSearched())
        }
        out.push(even.end())
        const masked = Buffer.from(text)
        let hits = 0
        forms.search.begin().push(text, 0, (from, to) => {
          masked.fill('*', from, to)
          hits += 1
        })
        expect(Buffer.concat(out).equals(masked)).toBe(true)
        expect([even.hits, even.waiting]).toEqual([hits, 0])
      },
    ),
    { numRuns: 1_000 },
  )
})

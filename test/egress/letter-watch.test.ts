import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EvenScrubber } from '../../src/egress/secrets/even-scrubber.ts'
import { compileSecrets } from '../../src/egress/secrets/scrub.ts'
import { spellings } from '../support/spellings.ts'
import { mixed, mixedTwice, type Pick } from '../support/writings.ts'

/** A pick that fast-check can have again. */
const picks: fc.Arbitrary<Pick> = fc.infiniteStream(fc.nat(9_999)).map((stream) => (limit: number) => {
  const { value } = stream.next()
  return Number(value) % limit
})

const alphabets = [
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789',
  '0123456789abcdef',
  'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567',
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_.~:',
  Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at)).join(''),
  // With too few letters and digits to be known by those alone.
  '!#$()*,-./:;<>?@[]^_`{|}~',
  '!#$%&()*+,-./:;<=>?@[]^_`{|}~"\'\\aB3',
]
const secrets = fc
  .constantFrom(...alphabets)
  .chain((alphabet) =>
    fc
      .string({ unit: fc.constantFrom(...alphabet.split('')), minLength: 5, maxLength: 48 })
      .filter((value) => value.trim() === value),
  )
const writings = fc.constantFrom<(text: string, pick: Pick) => string>((text) => text, mixed, mixedTwice)
/** What takes a part of what comes behind it for its own, each within another: whoever puts it there may choose. */
const befores = fc
  .array(
    fc.constantFrom(
      'x',
      '7',
      '"',
      '=',
      '%',
      '&',
      '\\',
      'k=',
      '%2',
      '=3',
      '%u',
      '%u00',
      '\\u',
      '\\u00',
      '\\U',
      '\\x',
      '\\0',
      '\\1',
      '&#',
      '&#x',
      '=\n',
    ),
    { maxLength: 9 },
  )
  .map((parts) => parts.join(''))

test('row 7: whatever stands around a secret and however it is written, it is looked for where it stands', () => {
  type Write = (value: string, pick: Pick) => string
  const whole = [
    (value: string) => value,
    (value: string) => Buffer.from(value).toString('base64'),
    (value: string) => Buffer.from(value).toString('hex'),
  ]
  const writes = fc.constantFrom<Write[]>(
    ...whole.flatMap((encode): Write[] => [
      encode,
      (value, pick) => mixed(encode(value), pick),
      (value, pick) => mixedTwice(encode(value), pick),
    ]),
    ...spellings.map(([, spell]) => spell),
    ...spellings.map(
      ([, spell]): Write =>
        (value, pick) =>
          mixed(spell(value), pick),
    ),
  )
  const behind = fc.constantFrom('', '"', '1', 'a', '=', '&', 'f0')
  fc.assert(
    fc.property(
      secrets,
      fc.array(fc.tuple(befores, writes, behind), { minLength: 1, maxLength: 3 }),
      picks,
      fc.nat(2_000),
      (value, parts, pick, cut) => {
        const shown = parts.map(([before, write, after]) => `${before}${write(value, pick)}${after}`)
        const text = Buffer.from(`k ${shown.join(' ')} k`, 'latin1')
        const forms = compileSecrets([value])
        const masked = Buffer.from(text)
        forms.search.begin().push(text, 0, (from, to) => masked.fill('*', from, to))
        const scrubber = new EvenScrubber(forms)
        const at = cut % (text.length + 1)
        const out = [scrubber.push(text.subarray(0, at)), scrubber.push(text.subarray(at)), scrubber.end()]
        expect(Buffer.concat(out).toString('latin1')).toBe(masked.toString('latin1'))
      },
    ),
    { numRuns: 2_500 },
  )
})

test.each([
  ['00d000', '%u'],
  ['5c0040', '\\u00'],
  ['xAA-~AA+', '\\'],
  ['5c000000', '\\u00'],
])('row 7: %s is found also where %s before it takes most of it for its own', (value, before) => {
  const scrubber = new EvenScrubber(compileSecrets([value]))
  const out = Buffer.concat([scrubber.push(Buffer.from(`k ${before}${value} k`)), scrubber.end()])
  expect(out.toString()).toBe(`k ${before}${'*'.repeat(value.length)} k`)
})

test('row 7: in one piece each occurrence is found, those known by many letters and those by few', () => {
  // In base64 it has 24 letters in a row to be known by, as it is only 8.
  const value = `@6'jQ0Y-ML[kV?8?k#1V / 4q1p^L|O"|s(seiml+/vB`
  const written = Buffer.from(value).toString('base64').slice(0, -2)
  const scrubber = new EvenScrubber(compileSecrets([value]))
  const text = `${value} ${'- '.repeat(300)}${written} .`
  const out = Buffer.concat([scrubber.push(Buffer.from(text)), scrubber.end()]).toString()
  expect(out.startsWith('*'.repeat(value.length))).toBe(true)
  expect(out).toMatch(/- \*{58} \.$/)
})

/** A secret made ready, and how many searches by characters have begun in it. */
function countedSearches(value: string) {
  const forms = compileSecrets([value])
  let searches = 0
  const begin = forms.search.begin.bind(forms.search)
  forms.search.begin = () => {
    searches += 1
    return begin()
  }
  return { forms, begun: () => searches }
}

test('invariant 1: what has all of a secret but four characters starts no search, so that its time tells nothing', () => {
  const value = 'wJalrXUtnFEMI7K7MDENGbPxRfiCYEXAMPLEKEYa'
  const { forms, begun } = countedSearches(value)
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.constantFrom(...spellings.map(([, spell]) => spell)),
          writings,
          // Of each form neither end, since one of them is the secret reversed.
          fc.nat(16),
          fc.nat(16),
        ),
        { maxLength: 8 },
      ),
      picks,
      fc.nat(4),
      (parts, pick, times) => {
        const text = parts
          .map(([spell, write, first, last]) => write(spell(value.slice(4 + first, -4 - last)), pick))
          .join(' ')
        const scrubber = new EvenScrubber(forms)
        scrubber.push(Buffer.from(text.repeat(times), 'latin1'))
        scrubber.end()
      },
    ),
  )
  // Of some hundred thousand fingerprints one may be that of a form by chance.
  expect(begun()).toBeLessThan(2)
  const before = begun()
  new EvenScrubber(forms).push(Buffer.from(value))
  expect(begun() - before).toBe(1)
})

test('invariant 1: of a password that is mostly signs three in a row start no search, and all of it does', () => {
  // "%" begins a writing: what is known of the second stands behind it.
  for (const value of ['#x;9!@*[7', 'a%#!;[d@<'] as const) {
    const { forms, begun } = countedSearches(value)
    const parts = Array.from(value).flatMap((_, at) => [value.slice(at, at + 3), value.slice(0, at)])
    for (const part of parts) {
      const scrubber = new EvenScrubber(forms)
      scrubber.push(Buffer.from(`${part} and ${part}"`.repeat(20)))
      scrubber.end()
    }
    expect(begun()).toBe(0)
    const whole = new EvenScrubber(forms)
    const out = [whole.push(Buffer.from(`${value} and ${encodeURIComponent(value)}`)), whole.end()]
    expect(begun()).toBe(1)
    expect(Buffer.concat(out).toString()).toMatch(/^\*{9} and \*+$/)
  }
})

test('what begins as a long token does is held as long as that could be, and no longer', () => {
  const head = 'eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSI'
  const token = (seed: string) =>
    `${head}${createHash('shake256', { outputLength: 600 }).update(seed).digest('base64url')}`
  const own = token('own')
  const written = Array.from(own, (char) => `&#x0000${char.charCodeAt(0).toString(16)};`).join('')
  const forms = compileSecrets([own])
  const pushed = (text: string) => {
    const scrubber = new EvenScrubber(forms)
    const out: Buffer[] = []
    let most = 0
    for (let at = 0; at < text.length; at += 1_000) {
      out.push(scrubber.push(Buffer.from(text.slice(at, at + 1_000))))
      most = Math.max(most, scrubber.waiting)
    }
    return { most, out: Buffer.concat([...out, scrubber.end()]).toString(), hits: scrubber.hits }
  }
  const whole = pushed(`k ${written} k`)
  expect(whole.out).toBe(`k ${'*'.repeat(written.length)} k`)
  // Others of the kind begin alike; with what says nothing between its letters one could go on for ever.
  const others = Array.from({ length: 200 }, (_, at) => token(String(at))).join('\n')
  const endless = `${head}${'-'.repeat(2_000_000)}`
  for (const text of [others, endless]) {
    const { most, out, hits } = pushed(text)
    expect(out).toBe(text)
    expect(hits).toBe(0)
    // In UTF-16 it would be twice as long.
    expect(most).toBeLessThan(2 * 170 * own.length + 20_000)
  }
})

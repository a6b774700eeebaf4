import { createHash } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EvenScrubber } from '../../src/egress/secrets/even-scrubber.ts'
import { bytesOf, compileSecrets, Scrubber } from '../../src/egress/secrets/scrub.ts'
import { type Encoder, goEncoders, ownEncoders, pythonEncoders } from '../support/encoders.ts'
import { needing } from '../support/needs.ts'
import { spellings } from '../support/spellings.ts'
import { mixed, mixedTwice, type Pick, tells, writingsOf } from '../support/writings.ts'

const secret = 'S3cr3t+Value/for="orders"&<x>\\-0123456789'
/** Of letters that stand in base64 as `+` and `/` wherever they come, and longer than a line of it. */
const awkward = `k~?>~?>~?${'~a?b>c'.repeat(12)}=\`'`

const speltBefore = new Map<string, string[]>()
function spelt(value: string): string[] {
  const all = speltBefore.get(value) ?? spellings.map(([, spell]) => spell(value))
  speltBefore.set(value, all)
  return all
}

function scrub(text: Buffer, cuts: number[], secrets = [secret]): { out: Buffer; hits: number } {
  const scrubber = new EvenScrubber(compileSecrets(secrets))
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
      fc.constantFrom(secret, awkward),
      fc.string({ maxLength: 30 }),
      fc.string({ maxLength: 30 }),
      fc.array(fc.nat(400), { maxLength: 12 }),
      ([, spell], value, first, last, cuts) => {
        // A backslash before it, or a quote beside one of its own, may belong to how it is written.
        const [before, after] = [`${first} `, ` ${last}`]
        const text = Buffer.from(`${before}${spell(value)}${after}`)
        const { out, hits } = scrub(text, cuts, [value])
        expect(hits).toBeGreaterThan(0)
        expect(out.length).toBe(text.length)
        expect(spelt(value).filter((other) => out.includes(other))).toEqual([])
        expect(out.subarray(0, Buffer.byteLength(before))).toEqual(Buffer.from(before))
        expect(out.subarray(out.length - Buffer.byteLength(after))).toEqual(Buffer.from(after))
      },
    ),
    { numRuns: 1_200 },
  )
})

const encoders: [string, Encoder, Parameters<typeof needing>][] = [
  ['Node', ownEncoders, []],
  ['Python', pythonEncoders, ['python']],
  ['Go', goEncoders, ['go']],
]
for (const [name, encode, needs] of encoders) {
  test(`row 7: nothing that ${name}’s own encoders write of a secret survives`, {
    ...needing(...needs),
    timeout: 120_000,
  }, () => {
    const letters = fc.stringMatching(/^[!-~]{12,40}$/)
    const secrets = [secret, awkward, 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEK==', ...fc.sample(letters, 40)]
    for (const value of secrets) expect(scrub(Buffer.from(value), [], [value]).hits).toBeGreaterThan(0)
    const written = encode(secrets)
    const each = written.length / secrets.length
    expect(each).toBeGreaterThan(4)
    const compiled = secrets.map((value) => new Scrubber(compileSecrets([value])))
    const left = written.filter((text) => !compiled.some((scrubber) => scrubber.text(text) !== text))
    expect(left).toEqual([])
  })
}

const base64Of = (value: string) => Buffer.from(value).toString('base64')

/** A pick that fast-check can have again. */
const picks: fc.Arbitrary<Pick> = fc.infiniteStream(fc.nat(9_999)).map((stream) => (limit: number) => {
  const { value } = stream.next()
  return Number(value) % limit
})

test('row 7: a secret is found with each of its characters in any of its writings, once and one in another', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(
        secret,
        'sk_live_51H8abcdEFGHijklMNOP',
        `p'a"s&s=w\\ord$-0123456789`,
        'Größe£ÿ/Schlüssel',
      ),
      fc.constantFrom(
        (value: string) => value,
        // The letters that the secret alone decides.
        (value: string) => base64Of(value).slice(0, Math.floor((Buffer.byteLength(value) * 4) / 3)),
      ),
      fc.constantFrom(mixed, mixedTwice),
      picks,
      fc.array(fc.nat(900), { maxLength: 12 }),
      (value, encode, write, pick, cuts) => {
        const written = write(encode(value), pick)
        const text = Buffer.from(`before |${written}| after`, 'latin1')
        const { out, hits } = scrub(text, cuts, [value])
        expect(out.toString('latin1')).toMatch(/^before \|\*+\| after$/)
        expect(hits).toBeGreaterThan(0)
      },
    ),
    { numRuns: 1_500 },
  )
})

test.each(Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)))(
  'row 7: %j is found in each of its writings and of theirs',
  (char) => {
    const compiled = compileSecrets([`first${char}second`])
    const left = writingsOf(char)
      .flatMap((written) => [
        written,
        ...Array.from(written).flatMap((sign, at) =>
          tells(written, at)
            ? []
            : writingsOf(sign).map((each) => written.slice(0, at) + each + written.slice(at + 1)),
        ),
        Array.from(written, (sign, at) => (tells(written, at) ? sign : (writingsOf(sign)[11] ?? sign))).join(
          '',
        ),
      ])
      .filter((written) => !/^[*]+$/.test(new Scrubber(compiled).text(`first${written}second`)))
    expect(left).toEqual([])
  },
)

test.each([
  ['Größe£Maß-9', 'a£b ', 'Größe&#163;Maß-9'],
  ['aéé£', 'a£b ', 'aéé\xc2\xa3'],
])(
  'row 7: %s is found in Latin-1 and in other writings at once, however it is cut',
  (value, before, each) => {
    const compiled = compileSecrets([value])
    const written = Buffer.from(`${before}${each} |`, 'latin1')
    for (let size = 1; size <= written.length; size += 1) {
      const scrubber = new EvenScrubber(compiled)
      const out: Buffer[] = []
      for (let at = 0; at < written.length; at += size)
        out.push(scrubber.push(written.subarray(at, at + size)))
      out.push(scrubber.end())
      expect(Buffer.concat(out).toString('latin1')).toBe(`${before}${'*'.repeat(each.length)} |`)
    }
  },
)

test('row 7: base64 is found in lines of any length, whatever stands before the secret', () => {
  const shown = `DB_URL=postgres://app:${secret}@db/orders`
  const base64 = Buffer.from(shown.repeat(3)).toString('base64')
  const starts = [0, 1, 2].map((n) => Math.ceil(((n * shown.length + shown.indexOf(secret)) * 8) / 6))
  for (let length = 20; length < 100; length += 1) {
    // With one letter at the end of a line every tenth line of any text would have to wait for the next.
    if (starts.some((start) => (start + 1) % length === 0)) continue
    for (const end of ['\n', '\r\n', '\\n', '\\r\\n', '%0A', '&#10;', '=\n']) {
      const text = base64.replace(new RegExp(`.{${length}}`, 'g'), `$&${end}`)
      const { out } = scrub(Buffer.from(text), [length, 2 * length + 1])
      const letters = out.toString().replaceAll(end, '')
      const left = Buffer.from(letters.replaceAll('*', 'A'), 'base64').toString('latin1')
      expect(left.match(/S3cr3t|Value|orders"|01234/g), `${length} ${end}`).toBeNull()
    }
  }
})

test('a text that repeats a secret that repeats itself is not searched for ever', () => {
  const repeated = new EvenScrubber(compileSecrets(['a'.repeat(16_384)]))
  expect(() => repeated.push(Buffer.from('&#97;'.repeat(10_000)))).toThrow('too many beginnings')
})

test('many secrets that begin alike, as tokens do, are searched for at once', () => {
  const head = 'eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTAwMDAxIiwiaWF0Ijox'
  const tokens = Array.from({ length: 300 }, (_, i) => `${head}${i}.${'x'.repeat(i % 7)}`)
  const written = (token: string) => token.replaceAll('.', '&period;')
  const { out } = scrub(
    Buffer.from(`${written(`${head}-another`)} ${written(tokens[207] ?? '')}`),
    [100],
    tokens,
  )
  expect(out.toString()).toMatch(/^eyJ[^*]*-another \*{80,}$/)
})

test('a secret of the longest kind is masked in each writing, however small the pieces', () => {
  const long = createHash('shake256', { outputLength: 12_288 }).update('seed').digest('base64')
  const scrubber = new EvenScrubber(compileSecrets([long]))
  const written = Buffer.from(Array.from(long, (char) => `&#${char.charCodeAt(0)};`).join(''))
  const out: Buffer[] = []
  for (let at = 0; at < written.length; at += 3) out.push(scrubber.push(written.subarray(at, at + 3)))
  out.push(scrubber.end())
  expect(Buffer.concat(out).equals(Buffer.alloc(written.length, '*'))).toBe(true)
  expect(scrubber.hits).toBe(1)
})

test('row 7: a secret is found however much was made ready for the texts before, and made ready again', () => {
  // Its beginnings, written in all ways, need more states than are kept.
  const long = createHash('shake256', { outputLength: 600 }).update('a token').digest('base64url')
  const forms = compileSecrets([long])
  let random = 1
  const pick: Pick = (limit) => {
    random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0
    return (random >>> 8) % limit
  }
  for (let round = 0; round < 24; round++) {
    const scrubber = new EvenScrubber(forms)
    const beginnings = Array.from({ length: 4 }, () => mixedTwice(long.slice(0, pick(long.length)), pick))
    const text = Buffer.from(`${beginnings.join(' ')} ${mixedTwice(long, pick)} .`)
    const cut = pick(text.length)
    const parts = [scrubber.push(text.subarray(0, cut)), scrubber.push(text.subarray(cut)), scrubber.end()]
    expect(scrubber.hits).toBe(1)
    expect(Buffer.concat(parts).toString()).toMatch(/ \*+ \.$/)
  }
})

test('what a search takes of memory goes by the length of its secrets, not by their number', () => {
  const before = process.memoryUsage().arrayBuffers
  const long = compileSecrets(['k/+~'.repeat(4_096)])
  const taken = process.memoryUsage().arrayBuffers - before
  expect(bytesOf(long)).toBeGreaterThan(taken / 2)
  expect(bytesOf(long)).toBeGreaterThan(
    4 * bytesOf(compileSecrets(['wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEK=='])),
  )
})

test('whatever texts make of a search, it takes no more than eight times what it said', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const heap = () => {
    collect()
    return process.memoryUsage().heapUsed
  }
  const value = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEK=='
  const forms = compileSecrets([value])
  const said = bytesOf(forms)
  const waiting: EvenScrubber[] = []
  const before = heap()
  let most = 0
  for (let length = 0; length < 30; length += 3) {
    for (const begun of [
      '&',
      '&#',
      '&#x',
      '&#x0',
      '\\',
      '\\u',
      '\\u0',
      '\\x',
      '%',
      '%u',
      '%u0',
      '=',
      '%5c',
    ]) {
      const beginning = Buffer.from(value.slice(0, length) + begun)
      for (let byte = 0; byte < 256; byte += 1) {
        const scrubber = new EvenScrubber(forms)
        scrubber.push(beginning)
        // A stream that stands keeps what it stands in, and no more.
        if (byte === 0) waiting.push(scrubber)
        else scrubber.push(Buffer.of(byte))
      }
    }
    most = Math.max(most, heap() - before)
  }
  expect(waiting.every((scrubber) => scrubber.waiting > 0)).toBe(true)
  expect(most).toBeLessThan(8 * said)
})

test('row 7: a secret that contains another is masked whole, in every spelling and however it is cut', () => {
  const inner = 'acme'
  const outer = 'sk-acme-9f8e7d6c5b4a3f2e1d0c'
  // A password that everybody knows, behind the user name that is the secret.
  const pair = 'ghp_0123456789abcdefghij:x-oauth-basic'
  fc.assert(
    fc.property(
      fc.constantFrom(...spellings),
      fc.constantFrom<string[][]>([inner, outer], [outer, inner], [pair, 'x-oauth-basic']),
      fc.array(fc.nat(400), { maxLength: 12 }),
      ([, spell], secrets, cuts) => {
        const long = secrets.includes(outer) ? outer : pair
        const { out, hits } = scrub(Buffer.from(`before ${spell(long)} after`), cuts, secrets)
        expect(out.toString()).not.toMatch(/9f8e|c5b4|1d0c|e8f9|0123|efgh/)
        expect(scrub(Buffer.from(spell(long)), [], secrets)).toEqual({
          out: scrub(Buffer.from(spell(long)), cuts, secrets).out,
          hits,
        })
        expect(spelt(long).filter((other) => out.includes(other))).toEqual([])
      },
    ),
    { numRuns: 600 },
  )
})

test('an occurrence is counted once, however it is cut', () => {
  const text = Buffer.from('acme sk-acme-9f8e acme')
  const secrets = ['acme', 'sk-acme-9f8e7d6c']
  expect(scrub(text, [], secrets).hits).toBe(3)
  expect(
    scrub(
      text,
      Array.from(text, (_, at) => at),
      secrets,
    ).hits,
  ).toBe(3)
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

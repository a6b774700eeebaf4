import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesOf, compileSecrets, Scrubber } from '../../src/egress/secrets/scrub.ts'
import { secretForms } from '../../src/egress/secrets/secret-forms.ts'
import { type Encoder, goEncoders, ownEncoders, pythonEncoders } from '../support/encoders.ts'
import { needing } from '../support/needs.ts'
import { spellings } from '../support/spellings.ts'

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
      fc.constantFrom(secret, awkward),
      fc.string({ maxLength: 30 }),
      fc.string({ maxLength: 30 }),
      fc.array(fc.nat(400), { maxLength: 12 }),
      ([, spell], value, before, after, cuts) => {
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

test('an ordinary key has so few spellings that to look for them costs next to nothing', () => {
  const forms = secretForms(['wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEK=='])
  expect(forms.length).toBeLessThan(150)
})

test('what a search takes of memory goes by the length of its secrets, not by their number', () => {
  const before = process.memoryUsage().arrayBuffers
  const long = compileSecrets(['k/+~'.repeat(4_096)])
  const taken = process.memoryUsage().arrayBuffers - before
  expect(bytesOf(long)).toBeGreaterThan(taken / 2)
  expect(bytesOf(long)).toBeGreaterThan(
    20 * bytesOf(compileSecrets(['wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEK=='])),
  )
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

test('bytes that cannot begin a secret are let go at once', () => {
  const scrubber = new Scrubber(compileSecrets(['abcdefgh12345678']))
  expect(scrubber.push(Buffer.from('data: hello\n\n')).toString()).toBe('data: hello\n\n')
  expect(scrubber.push(Buffer.from('x abcd')).toString()).toBe('x ')
  expect(scrubber.push(Buffer.from('!')).toString()).toBe('abcd!')
})

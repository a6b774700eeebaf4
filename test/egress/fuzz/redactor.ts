/**
 * Answers with a secret in them, in every spelling and with each character in whatever writing, whole, cut, doubled
 * and nearly right, through the redactor in pieces of every size. What comes out is held against spellings made by
 * other means, and against the same bytes in one piece.
 */
import { EvenScrubber } from '../../../src/egress/secrets/even-scrubber.ts'
import { compileSecrets } from '../../../src/egress/secrets/scrub.ts'
import { spellings } from '../../support/spellings.ts'
import { mixed, mixedTwice } from '../../support/writings.ts'
import { Chance, Finding, type Fuzz } from './fuzz.ts'

// Without the mask's own: beside a mask, the rest of a secret that begins with it would read as a whole one.
const letters = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))
  .join('')
  .replace('*', '')

/** As the vault takes one: printable, at least eight characters, no white space at an end. */
function makeSecret(chance: Chance): string {
  const few = chance.once(3) ? letters.slice(33, 36) : letters
  const length = 8 + chance.below(40)
  const text = Array.from({ length }, () => few[chance.below(few.length)]).join('')
  return text.trim().length < 8 ? makeSecret(chance) : text.trim()
}

function makeAnswer(chance: Chance, spelt: readonly string[]): string {
  let text = ''
  for (let parts = 1 + chance.below(6); parts > 0; parts -= 1) {
    const part = chance.of(spelt)
    const cut = chance.below(part.length + 1)
    text += chance.of([
      part,
      part.slice(cut),
      part.slice(0, cut),
      chance.mutate(part, 2),
      part + part.slice(1),
    ])
  }
  return text
}

/** A text with secrets in it whose characters are each written in one way or another; where these stand. */
function makeMixture(chance: Chance, secrets: readonly string[], spelt: readonly string[]): Mixture {
  const pick = (limit: number) => chance.below(limit)
  const places: Mixture['places'] = []
  let text = ''
  for (let parts = 1 + chance.below(3); parts > 0; parts -= 1) {
    const around = chance.of(spelt)
    text += chance.mutate(around.slice(chance.below(around.length + 1)), 2)
    const written = chance.of([mixed, mixedTwice])(chance.of(secrets), pick)
    places.push([text.length, text.length + written.length])
    text += written
  }
  return { text, places }
}

interface Mixture {
  text: string
  places: [from: number, to: number][]
}

function redact(bytes: Buffer, secrets: string[], piece: () => number): { out: Buffer; hits: number } {
  const scrubber = new EvenScrubber(compileSecrets(secrets))
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = piece()
    // Copied: what was let go must not change when more comes.
    out.push(Buffer.from(scrubber.push(bytes.subarray(at, at + size))))
    at += size
  }
  out.push(scrubber.end())
  return { out: Buffer.concat(out), hits: scrubber.hits }
}

/** Whether a byte of some occurrence was let through, as when another secret in it was masked alone. */
function standsPartly(secret: string, text: string, out: Buffer): boolean {
  for (let at = text.indexOf(secret); at !== -1; at = text.indexOf(secret, at + 1))
    if (out.subarray(at, at + secret.length).some((byte) => byte !== 0x2a)) return true
  return false
}

export const fuzz: Fuzz = async ({ seed, deadline, most }) => {
  const chance = new Chance(seed)
  const tally = { tried: 0, accepted: 0 }
  while (performance.now() < deadline && tally.tried < most) {
    const secrets = Array.from({ length: 1 + chance.below(2) }, () => makeSecret(chance))
    // One inside another, as a company's name is in its keys.
    if (chance.once(3)) secrets.push((secrets[0] ?? '').slice(2, 6 + chance.below(4)))
    const spelt = secrets.flatMap((secret) => spellings.map(([, spell]) => spell(secret)))
    for (let answers = 20; answers > 0; answers -= 1) {
      const text = makeAnswer(chance, spelt)
      const bytes = Buffer.from(text)
      const sizes = chance.of([1, 2, 7, 64])
      const { out, hits } = redact(bytes, secrets, () => 1 + chance.below(sizes))
      const whole = redact(bytes, secrets, () => bytes.length)
      const input = { secrets, text }
      tally.tried += 1
      if (hits > 0) tally.accepted += 1
      if (out.length !== bytes.length) throw new Finding('another length', input, seed)
      if (!out.equals(whole.out)) throw new Finding('masked otherwise in pieces than whole', input, seed)
      const bare = secrets.find((secret) => standsPartly(secret, bytes.toString('latin1'), out))
      if (bare !== undefined) throw new Finding(`not masked whole: ${bare}`, input, seed)
      const left = spelt.find((each) => out.includes(each))
      if (left !== undefined) throw new Finding(`left standing: ${left}`, input, seed)
    }
    for (let answers = 10; answers > 0; answers -= 1) {
      const { text, places } = makeMixture(chance, secrets, spelt)
      const bytes = Buffer.from(text, 'latin1')
      const sizes = chance.of([1, 2, 7, 64])
      const { out, hits } = redact(bytes, secrets, () => 1 + chance.below(sizes))
      const whole = redact(bytes, secrets, () => bytes.length)
      const input = { secrets, text }
      tally.tried += 1
      if (hits > 0) tally.accepted += 1
      if (!out.equals(whole.out)) throw new Finding('masked otherwise in pieces than whole', input, seed)
      const bare = places.find(([from, to]) => out.subarray(from, to).some((byte) => byte !== 0x2a))
      if (bare !== undefined) throw new Finding(`left standing: ${text.slice(...bare)}`, input, seed)
    }
  }
  return tally
}

import { type Alphabet, letter, opener } from './alphabet.ts'

/**
 * So many letters in a row are known by their fingerprint: the most that a form has of these. Where it has some more, the
 * fingerprints of all that end with one of its last `step` letters are known, so that only every so manyth need be made.
 */
export const rows = [
  { length: 24, step: 4 },
  { length: 16, step: 4 },
  { length: 8, step: 1 },
  { length: 4, step: 1 },
  { length: 3, step: 1 },
]
/**
 * Of the first letters behind what may begin a writing so many may be taken for a part of one, or half of them where
 * there are few: one writing takes four at most, but whoever has a credential shown may put several before it, each
 * within another.
 */
const mostTaken = 12
/**
 * What of so few letters takes more than that half: behind the beginning of a writing its end, where one writing may take
 * as much, or its end and another writing that begins with what it says. These are read character by character.
 */
const taken = [
  { below: 8, by: /^(?:[0-7]|x?[0-9a-f]{2}|u[0-9a-f{]|[a-z0-9]+;)/i },
  { below: 24, by: /^0*(?:5c[0-7ux]|134[0-7ux]|25u|26[a-z0-9]+;)/i },
]

/** Letters in a row of a form, up to this byte. */
export interface Window {
  to: number
  length: number
  step: number
}

/**
 * By which letters of its first `upTo` bytes a form is known, whatever stands before it and however it is written;
 * undefined where it has too few, or too many of them may be taken.
 */
export function windowIn(bytes: Buffer, upTo: number, alphabet: Alphabet): Window | undefined {
  let best: Window | undefined
  for (const { from, to } of runsIn(bytes.subarray(0, upTo), alphabet)) {
    const letters = lettersIn(bytes, from, to, alphabet)
    const text = bytes.toString('latin1', from, to)
    if (taken.some(({ below, by }) => letters < below && by.test(text))) continue
    const sure = letters - Math.min(mostTaken, Math.floor(letters / 2))
    const row = rows.find(({ length, step }) => length + step - 1 <= sure)
    if (row === undefined || row.length < (best?.length ?? 0)) continue
    let end = to
    while (alphabet.kinds[bytes[end - 1] ?? 0] !== letter) end -= 1
    best = { to: end, ...row }
  }
  return best
}

/** Stretches without a sign that may begin the writing of something else. */
function* runsIn(bytes: Buffer, { kinds }: Alphabet): Generator<{ from: number; to: number }> {
  let from = 0
  for (let at = 0; at <= bytes.length; at += 1) {
    if (at < bytes.length && kinds[bytes[at] ?? 0] !== opener) continue
    if (at > from) yield { from, to: at }
    from = at + 1
  }
}

export function lettersIn(bytes: Buffer, from: number, to: number, { kinds }: Alphabet): number {
  let letters = 0
  for (let at = from; at < to; at += 1) if (kinds[bytes[at] ?? 0] === letter) letters += 1
  return letters
}

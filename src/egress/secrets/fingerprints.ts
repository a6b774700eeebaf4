import { type Alphabet, alphabetOf, letter } from './alphabet.ts'
import { lettersIn, rows, type Window, windowIn } from './form-letters.ts'
import type { Form } from './form-table.ts'
import { LetterStream, type LookedFor } from './letter-stream.ts'
import { root } from './writings.ts'

/** Letters that the beginning of one writing may take. */
const mostTakenAtOnce = 4
/** A beginning of so many letters, and of less, is known by them. */
const mostBegun = 96
/** Forms of up to so many bytes are whole in what always waits, however they are written. */
const shortForm = 96
/** However long a secret is: more than so many of its first characters no text has by chance. */
const mostUntelling = 7
/** What a mark, and a number in a set, take in memory. */
const markBytes = 150
const printBytes = 40
/** Bytes that a character takes at most, in a writing that is written itself. */
const widestWriting = 170
/** As many letters as this, and twice those that a form has, may stand where it is written: what is not undone has some. */
const slack = 16
/** That many letters before the last one it is still known where they are. */
export const farthest = 120

/** What a fingerprint is of. */
export interface Mark {
  /** The form begins no more than so many letters before. */
  before: number
  /** So many of its letters may come behind. */
  behind: number
  /** The form is not written in more bytes. */
  reach: number
  /** Whether the form may have come to its end; otherwise it has begun, and is too long to be known by its end alone. */
  isEnd: boolean
}

/** Beginnings of so many letters are known, and none of them says more up to so many letters behind. */
export interface Begun {
  readonly letters: number
  readonly behind: number
}

/** Fingerprints of the same length, to be looked for. */
class Prints implements LookedFor {
  readonly length: number
  readonly step: number
  readonly bits: Uint32Array
  readonly shift: number
  readonly marks: ReadonlyMap<number, readonly Mark[]>

  constructor(length: number, step: number, marks: ReadonlyMap<number, readonly Mark[]>) {
    this.length = length
    this.step = step
    this.marks = marks
    const { bits, shift } = bitsFor(marks.keys(), marks.size, 256)
    this.bits = bits
    this.shift = shift
  }
}

/** A bit for each of some fingerprints, among `sparse` times as many at least. */
function bitsFor(
  prints: Iterable<number>,
  size: number,
  sparse: number,
): { bits: Uint32Array; shift: number } {
  const log = Math.min(20, Math.max(10, Math.ceil(Math.log2(sparse * size + 1))))
  const bits = new Uint32Array(2 ** (log - 5))
  for (const print of prints) {
    const bit = print >>> (32 - log)
    bits[bit >>> 5] = (bits[bit >>> 5] ?? 0) | (1 << (bit & 31))
  }
  return { bits, shift: 32 - log }
}

/**
 * By what some forms are known in a stream of letters: the last of their letters in a row. None of it can be tried
 * letter by letter: whoever does not know all of these letters learns from no time that a search takes whether some of
 * them are right.
 */
export class Fingerprints {
  readonly prints: readonly Prints[]
  /** By what these forms are known: letters and digits, and other signs where some form has too few of those. */
  readonly alphabet: Alphabet
  /** No form is written in fewer bytes. */
  readonly shortest: number
  /** Whether there is a form with too few letters to be known by them. */
  readonly lacks: boolean
  /** So many characters of a secret may be known: a quarter of the shortest, seven at most. */
  readonly untelling: number
  /** So many letters at most may say no more than those, in whatever form. */
  readonly mostUntold: number
  /** How many letters behind a beginning may say no more than it does. */
  readonly #beginnings = new Map<number, number>()
  /** The beginnings that are known, the shortest first. */
  readonly begun: readonly Begun[]

  constructor(forms: readonly Form[], shortest: number) {
    this.shortest = shortest
    const plain = alphabetOf(forms, { signs: false })
    const isPlain = forms.every(({ bytes }) => windowIn(bytes, bytes.length, plain) !== undefined)
    const alphabet = isPlain ? plain : alphabetOf(forms, { signs: true })
    this.alphabet = alphabet
    this.untelling = Math.min(mostUntelling, Math.floor(shortest / 4))
    const marks = new Map(rows.map(({ length }): [number, Marks] => [length, new Map()]))
    const stream = new LetterStream(root, alphabet)
    const begun = new Map<number, number>()
    let lacks = false
    for (const form of forms) {
      const { bytes } = form
      const end = windowIn(bytes, bytes.length, alphabet)
      const begin = bytes.length > shortForm ? windowIn(bytes, shortForm, alphabet) : undefined
      if (end !== undefined) this.#addWindow(marks, bytes, end, true, stream)
      if (begin !== undefined) this.#addWindow(marks, bytes, begin, false, stream)
      this.#addBeginnings(form, stream, begun)
      lacks ||= end === undefined
    }
    this.lacks = lacks
    this.begun = [...begun]
      .map(([letters, behind]) => ({ letters, behind }))
      .sort((a, b) => a.letters - b.letters)
    this.mostUntold = Math.max(...forms.map(({ each }) => (knownAt(this.untelling, each)[0] ?? 0) - 1))
    this.prints = rows.flatMap(({ length, step }) => {
      const each: Marks = marks.get(length) ?? new Map()
      return each.size > 0 ? [new Prints(length, step, each)] : []
    })
  }

  /** About how much memory they take. */
  get bytes(): number {
    const ofPrints = this.prints.map(({ bits, marks }) => bits.byteLength + markBytes * marks.size)
    return ofPrints.reduce((sum, each) => sum + each, printBytes * this.#beginnings.size + 256)
  }

  /** What so many letters of this fingerprint are. */
  marksOf(print: number, length: number): readonly Mark[] {
    return this.prints.find((each) => each.length === length)?.marks.get(print) ?? []
  }

  /**
   * Whether a form begins with letters of this fingerprint, and nothing more of it is known `behind` letters later. Its
   * first letters may be taken for a part of something else, but the last are always as manyth as say a multiple of one
   * more than are untelling: so that as many characters have to be guessed at once.
   */
  isBeginning(print: number, behind: number): boolean {
    return (this.#beginnings.get(print) ?? -1) >= behind
  }

  #addWindow(
    marks: ReadonlyMap<number, Marks>,
    bytes: Buffer,
    { to, length, step }: Window,
    isEnd: boolean,
    stream: LetterStream,
  ): void {
    const before = lettersWritten(lettersIn(bytes, 0, to, this.alphabet))
    const behind = lettersIn(bytes, to, bytes.length, this.alphabet) + step + slack
    const reach = bytes.length * widestWriting
    let from = to
    for (let missing = length + step - 1; missing > 0; from -= 1)
      if (this.alphabet.kinds[bytes[from - 1] ?? 0] === letter) missing -= 1
    stream.separate(0)
    stream.read(bytes, from, to)
    const known = marks.get(length)
    for (let last = 0; last < step; last += 1) {
      const print = stream.print(length, stream.count - last)
      const those = known?.get(print) ?? []
      const same = those.find((mark) => mark.isEnd === isEnd)
      if (same === undefined) known?.set(print, [...those, { before, behind, reach, isEnd }])
      else {
        same.before = Math.max(same.before, before)
        same.behind = Math.max(same.behind, behind)
        same.reach = Math.max(same.reach, reach)
      }
    }
  }

  #addBeginnings({ bytes, each }: Form, stream: LetterStream, begun: Map<number, number>): void {
    const { kinds } = this.alphabet
    const known = knownAt(this.untelling, each)
    const [first = 0] = known
    const fewest = first - Math.floor(first / 4)
    let from = 0
    for (let taken = 0; taken <= mostTakenAtOnce && from < bytes.length; taken += 1) {
      stream.separate(0)
      for (let at = from; at < bytes.length && stream.count - stream.since < mostBegun; at += 1) {
        stream.read(bytes, at, at + 1)
        const letters = stream.count - stream.since
        const next = known.indexOf(taken + letters) + 1
        if (letters < fewest || next === 0) continue
        const behind = (known[next] ?? 0) - taken - letters - 1
        const print = stream.print(letters)
        this.#beginnings.set(print, Math.max(behind, this.#beginnings.get(print) ?? 0))
        begun.set(letters, Math.max(behind, begun.get(letters) ?? 0))
      }
      while (from < bytes.length && kinds[bytes[from] ?? 0] !== letter) from += 1
      from += 1
    }
  }
}

/**
 * With how many of its letters the beginning of a form is known each time: where they say as many more characters of the
 * secret as are known at once. One that says a character in two letters is known by twice as many as the secret itself,
 * or whoever guesses would do so in that form.
 */
function knownAt(untelling: number, each: number): number[] {
  const known: number[] = []
  let last = 0
  // And once more, for what stands behind the last of them.
  for (let times = 1; last < 2 * mostBegun; times += 1) {
    last = Math.ceil(times * (untelling + 1) * each)
    known.push(last)
  }
  return known
}

type Marks = Map<number, Mark[]>

/** How many letters there may be where so many are written. */
export function lettersWritten(letters: number): number {
  return Math.max(letters, Math.min(2 * letters + slack, farthest))
}

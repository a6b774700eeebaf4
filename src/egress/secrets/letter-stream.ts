import { randomInt } from 'node:crypto'
import { type Alphabet, inert, letter, opener, separator } from './alphabet.ts'
import { fj, softBreak } from './char-set.ts'
import type { Step } from './writing-tree.ts'

/** So many of the last letters are known by their place. */
const remembered = 256
const last = remembered - 1
/** So many are read before it is looked for what they are, so that the others before them are still known. */
const block = 128
/** Writings within writings that are followed at once. */
const deepest = 8

/** Room for one letter. */
const one = new Uint8Array(1)

/** An odd number of this process, by which letters are told apart by where they stand. */
const base = 2 * randomInt(2 ** 30) + 1
const powers = Int32Array.from({ length: remembered })
powers[0] = 1
for (let at = 1; at < remembered; at += 1) powers[at] = Math.imul(powers[at - 1] ?? 0, base)

/** Fingerprints of so many letters in a row, some of which are looked for. */
export interface LookedFor {
  readonly length: number
  /** They are looked for behind every `step`th letter. */
  readonly step: number
  /** A bit for all fingerprints whose first bits are alike, `32 - shift` of them. */
  readonly bits: Uint32Array
  readonly shift: number
}

/**
 * The letters of a text, by some alphabet, one after the other, with everything in between left out and what is written in
 * any of the known ways, also twice over, undone. Where that can be read in two ways it is undone as far as it can be.
 * How long that takes depends on the text alone.
 */
export class LetterStream {
  readonly #root: Step
  readonly #kinds: Uint8Array
  readonly #numbers: Int32Array
  /** How many letters there were so far. */
  count = 0
  /** How many of them stand before the last separator. */
  since = 0
  /** Where the bytes behind that begin. */
  runAt = 0
  /** Where each letter begins, in as many bits as say how far that is from the last. */
  readonly #places: number[]
  #lastPlace = 0
  readonly #hashes: number[]
  readonly #lookedFor: readonly LookedFor[]
  readonly #onSeen: (length: number, end: number) => void
  // Writings that have begun, each of the next character of the one before.
  readonly #steps: Step[] = []
  readonly #counts: number[] = []
  readonly #starts: number[] = []
  #depth = 0

  /** `onSeen` is told the length of what may be looked for, and with the how manyth letter it ends. */
  constructor(
    root: Step,
    { kinds, numbers }: Alphabet,
    lookedFor: readonly LookedFor[] = [],
    onSeen: (length: number, end: number) => void = () => undefined,
  ) {
    this.#root = root
    this.#kinds = kinds
    this.#numbers = numbers
    this.#lookedFor = lookedFor
    this.#onSeen = onSeen
    this.#places = Array.from<number>({ length: remembered }).fill(0)
    this.#hashes = Array.from<number>({ length: remembered }).fill(0)
  }

  /**
   * Reads bytes from `from` up to the next separator, or to `to`; returns where it stopped. The first of
   * `bytes` stands at `offset`.
   */
  read(bytes: Uint8Array, from = 0, to = bytes.length, offset = 0): number {
    const kinds = this.#kinds
    for (let at = from; at < to; at += 1) {
      if (this.#depth === 0) {
        at = this.#readPlain(bytes, at, to, offset)
        if (at === to) break
      }
      const byte = bytes[at] ?? 0
      if (kinds[byte] === separator) return at
      this.#accept(byte, offset + at)
    }
    return to
  }

  /** As long as nothing but letters and what is inert comes, which is nearly everything. */
  #readPlain(bytes: Uint8Array, from: number, to: number, offset: number): number {
    const [kinds, numbers] = [this.#kinds, this.#numbers]
    const [places, hashes] = [this.#places, this.#hashes]
    const low = offset | 0
    let at = from
    for (let isPlain = true; isPlain && at < to; ) {
      const { count } = this
      let next = count
      let hash = hashes[count & last] ?? 0
      for (const most = count + block; at < to && next < most; at += 1) {
        const byte = bytes[at] ?? 0
        const value = numbers[byte] ?? 0
        if (value === 0) {
          if (kinds[byte] === inert) continue
          isPlain = false
          break
        }
        places[next & last] = (low + at) | 0
        next += 1
        hash = (Math.imul(hash, base) + value) | 0
        hashes[next & last] = hash
      }
      this.count = next
      this.#lastPlace = offset + at
      for (const each of this.#lookedFor) this.#look(each, count, next)
    }
    return at
  }

  /** Looks for these in what ends with one of the letters behind the `from`th. */
  #look({ length, step, bits, shift }: LookedFor, from: number, to: number): void {
    const hashes = this.#hashes
    const power = powers[length] ?? 0
    for (let end = from + step - (from % step); end <= to; end += step) {
      const bit = ((hashes[end & last] ?? 0) - Math.imul(hashes[(end - length) & last] ?? 0, power)) >>> shift
      if ((((bits[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) !== 0) this.#onSeen(length, end)
    }
  }

  /** A separator stands before `at`: nothing that is looked for goes on behind it. */
  separate(at: number): void {
    this.since = this.count
    this.runAt = at
    this.#depth = 0
  }

  /** Fingerprint of the last `length` letters before the `end`th; with fewer than 256 behind the first of them. */
  print(length: number, end = this.count): number {
    const hashes = this.#hashes
    return (
      ((hashes[end & last] ?? 0) - Math.imul(hashes[(end - length) & last] ?? 0, powers[length] ?? 0)) | 0
    )
  }

  /** Where the writing of the `index`th letter begins, one of the last 256; not before the last separator. */
  placeOf(index: number): number {
    if (index < this.since) return this.runAt
    const back = ((this.#lastPlace >>> 0) - (this.#places[index & last] ?? 0)) >>> 0
    return Math.max(this.runAt, this.#lastPlace - back)
  }

  /** How many letters there are without those that may be of a writing that has begun: at each of them. */
  get ends(): readonly number[] {
    return [this.count, ...this.#counts.slice(0, this.#depth).reverse()]
  }

  #say(char: number, at: number): void {
    one[0] = char
    this.#readPlain(one, 0, 1, at)
  }

  #open(char: number, at: number): void {
    const step = this.#root.next.get(char)
    if (step === undefined) return
    if (this.#depth === deepest) {
      for (const list of [this.#steps, this.#counts, this.#starts]) list.shift()
      this.#depth -= 1
    }
    this.#steps[this.#depth] = step
    this.#counts[this.#depth] = this.count
    this.#starts[this.#depth] = at
    this.#depth += 1
  }

  /** A character that is written from `from` on: of the last writing that has begun, or beginning one within. */
  #accept(said: number, from: number): void {
    const kinds = this.#kinds
    let char = said
    let at = from
    while (this.#depth > 0) {
      const top = this.#depth - 1
      const step = this.#steps[top] ?? this.#root
      const next = step.next.get(char)
      if (next === undefined) {
        const [whole] = step.says
        // An octal number of three digits that could have a fourth has none that is written itself.
        const isWhole = whole !== undefined && this.count - (this.#counts[top] ?? 0) > 2
        if (kinds[char] === opener && !isWhole) break
        this.#depth = whole === undefined ? 0 : top
        if (whole === undefined) break
        // It could have gone on.
        this.count = this.#counts[top] ?? 0
        this.#accept(whole, this.#starts[top] ?? 0)
        continue
      }
      if (next.says.length === 0 || next.next.size > 0) {
        this.#steps[top] = next
        if (kinds[char] === letter) this.#say(char, at)
        return
      }
      this.#depth = top
      this.count = this.#counts[top] ?? 0
      at = this.#starts[top] ?? 0
      char = next.says[0] ?? 0
      if (char === softBreak) return
    }
    if (char === fj) for (const each of 'fj') this.#say(each.charCodeAt(0), at)
    else if (kinds[char] === letter) this.#say(char, at)
    else if (kinds[char] === opener) this.#open(char, at)
  }
}

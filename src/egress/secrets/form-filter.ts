import { CharSet, softBreak } from './char-set.ts'
import { type Form, type FormTable, latinIn } from './form-table.ts'
import { type Shapes, writingShapes } from './writing-shapes.ts'
import type { Step } from './writing-tree.ts'
import type { Writings } from './writings.ts'

/**
 * Of a byte: a writing may begin with it, or a line end there; a writing may end with it; a form begins with it; a form
 * may begin there, as it is or with a writing.
 */
export const lead = 1
const tail = 2
export const first = 4
export const opening = 8

/** Of two bytes in a row: they may stand in a form; around them, or behind them, may stand anything; a form's first. */
const possible = 1
const opensThird = 2
const opensSecond = 4
const head = 8

/** Signs of which writings are made, beside those they begin with. */
const signs = Array.from('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#;{}\r\n')
const apostrophe = 39
const quote = 34
const lineFeed = 10
const carriageReturn = 13

/**
 * Which bytes can stand beside each other in a form, however that is written, and in a text put into another. It
 * takes some for possible that are not; in few texts as many in a row are as the shortest form has.
 */
export class FormFilter {
  readonly kinds = new Uint8Array(256)
  readonly #pairs = new Uint8Array(65_536)
  /** Three in a row of a form, or inside of a writing: one bit for the numbers that share it. */
  readonly #triples: Uint32Array
  readonly #shift: number
  readonly shortest: number
  readonly root: Step
  readonly firsts: CharSet

  constructor(forms: readonly Form[], table: FormTable, writings: Writings) {
    this.shortest = table.shortest
    this.firsts = table.firsts
    this.root = writings.root
    const shapes = writingShapes(writings)
    const bits = bitsFor(table.bytes / 2 + shapes.triples.length)
    this.#shift = 32 - bits
    this.#triples = new Uint32Array(2 ** (bits - 5))
    const useful = this.#findLeads(table, writings)
    for (const { bytes } of forms) this.#addLatin(bytes)
    for (const byte of saying(shapes.tails, useful)) this.#mark(byte, tail)
    for (let byte = 0; byte < 256; byte += 1) {
      if (table.firsts.has(byte)) this.#mark(byte, first | opening)
      else if (((this.kinds[byte] ?? 0) & lead) !== 0 && this.root.next.has(byte)) this.#mark(byte, opening)
      const kind = this.kinds[byte] ?? 0
      for (let other = 0; other < 256; other += 1) {
        if ((kind & tail) !== 0) this.#addPair((byte << 8) | other, possible | opensSecond)
        if ((kind & lead) !== 0) this.#addPair((other << 8) | byte, possible | opensThird)
        if ((kind & lead) !== 0) this.#addPair((byte << 8) | other, opensThird)
      }
    }
    for (const pair of saying(shapes.pairs, useful)) this.#addPair(pair, possible)
    for (const pair of saying(shapes.ends, useful)) this.#addPair(pair, opensSecond)
    for (const triple of saying(shapes.triples, useful)) this.#addTriple(triple)
    for (const { bytes } of forms) this.#addForm(bytes)
  }

  /** About how much memory it takes. */
  get bytes(): number {
    return this.#pairs.byteLength + this.#triples.byteLength + 1_024
  }

  /**
   * The first place from `from` on behind which, as far as the shortest form reaches, all bytes may stand in a row.
   * Those from `from` to `looked` do.
   */
  skip(bytes: Buffer, from: number, looked: number): number {
    const pairs = this.#pairs
    const triples = this.#triples
    const shift = this.#shift
    const { shortest } = this
    const { length } = bytes
    let known = looked
    for (let at = from; ; ) {
      const last = Math.min(at + shortest, length) - 3
      const least = Math.max(at, known)
      let gap = last
      for (; gap >= least; gap -= 1) {
        const two = ((bytes[gap] ?? 0) << 8) | (bytes[gap + 1] ?? 0)
        const third = bytes[gap + 2] ?? 0
        const one = pairs[two] ?? 0
        const other = pairs[((two & 0xff) << 8) | third] ?? 0
        const bit = Math.imul((two << 8) | third, spread) >>> shift
        // All of it, since a branch that goes either way costs more.
        const open = (other >>> 1) | (one >>> 2) | ((triples[bit >>> 5] ?? 0) >>> (bit & 31))
        if ((one & other & open & 1) === 0) break
      }
      if (gap < least) return at
      known = last + 1
      at = gap + 1
    }
  }

  /** The last place of these where three bytes stand in no form as it is; before `least` where there is none. */
  lastBareGap(bytes: Buffer, least: number, last: number): number {
    let at = last
    for (; at >= least; at -= 1) {
      const triple = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0)
      const bit = Math.imul(triple, spread) >>> this.#shift
      if ((((this.#triples[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 0) break
    }
    return at
  }

  /** Whether a form begins with these. */
  isHead(one: number, two: number): boolean {
    return ((this.#pairs[(one << 8) | two] ?? 0) & head) !== 0
  }

  #addForm(bytes: Buffer): void {
    let last = bytes[0] ?? 0
    const second = bytes[1]
    for (let any = 0; any < 256; any += 1)
      if (second === undefined || second === any) this.#addPair((last << 8) | any, head)
    for (let at = 1; at < bytes.length; at += 1) {
      last = ((last << 8) | (bytes[at] ?? 0)) & 0xffffff
      this.#addPair(last & 0xffff, possible)
      if (at > 1) this.#addTriple(last)
    }
  }

  /** Each of them may be its own byte, beside whatever stands there. */
  #addLatin(bytes: Buffer): void {
    for (const [at, char] of latinIn(bytes)) {
      this.#mark(char, lead | tail)
      if (at === 0) for (let any = 0; any < 256; any += 1) this.#addPair((char << 8) | any, head)
    }
  }

  #addPair(pair: number, kind: number): void {
    this.#pairs[pair] = (this.#pairs[pair] ?? 0) | kind
  }

  #addTriple(triple: number): void {
    const bit = Math.imul(triple, spread) >>> this.#shift
    this.#triples[bit >>> 5] = (this.#triples[bit >>> 5] ?? 0) | (1 << (bit & 31))
  }

  /** Marks what useful writings begin with. Useful are characters of forms, and those of which their writings are made. */
  #findLeads(table: FormTable, writings: Writings): CharSet {
    const useful = new CharSet()
    useful.addAll(table.chars)
    useful.add(softBreak)
    for (const sign of signs) useful.add(sign.charCodeAt(0))
    // One of an apostrophe's writings has quotes in it.
    if (useful.has(apostrophe)) useful.add(quote)
    // First those of writings of characters, then of the signs in them.
    for (let layer = 0; layer < 2; layer += 1) {
      for (const [byte, step] of writings.root.next) {
        const says = (chars: CharSet) => step.ahead.meets(chars) || step.says.some((char) => chars.has(char))
        if (!says(useful)) continue
        useful.add(byte)
        this.#mark(byte, lead)
      }
    }
    if (table.chars.has(lineFeed)) {
      this.#mark(lineFeed, lead | tail)
      this.#mark(carriageReturn, lead)
    }
    return useful
  }

  #mark(byte: number, kind: number): void {
    this.kinds[byte] = (this.kinds[byte] ?? 0) | kind
  }
}

/** Makes of numbers that are alike others that are not (Knuth's multiplicative hash). */
const spread = 0x9e3779b1

/** So many that of what is not in the table few share a bit with what is. */
function bitsFor(numbers: number): number {
  return Math.min(20, Math.max(16, Math.ceil(Math.log2(16 * numbers))))
}

function* saying(shapes: Shapes, useful: CharSet): Generator<number> {
  for (const [bytes, says] of shapes) if (says.meets(useful)) yield bytes
}

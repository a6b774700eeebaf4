import { CharSet, fj } from './char-set.ts'

/** Bytes to look for. */
export interface Form {
  bytes: Buffer
  /** Whether it is broken into lines, as base64 is. */
  lines: boolean
  /** How many of its letters say one character of the secret. */
  each: number
}

/** Where no form has begun yet. */
export const start = 0

const lineFeed = 10
const carriageReturn = 13
/** Letters that must stand in one line: with fewer, every tenth line of any text would end as some form begins. */
const unbroken = 2
/** Beside a byte: a line may end before it; in place of one: a form ends here. */
const mayBreak = 0x100
const formEnd = 0x8000
const octetOrEnd = 0x80ff

/**
 * Forms one behind the other. A place among them is what has been read of a form, and whether a line has just ended:
 * the index of the byte that comes next, plus once the size behind a carriage return, twice behind a line feed.
 */
export class FormTable {
  readonly #units: Uint16Array
  /** By their first byte, the places of forms. */
  readonly #beginning = new Map<number, number[]>()
  /** Characters that some form begins with. */
  readonly #firsts = new CharSet()
  /** No form is written in fewer bytes. */
  readonly shortest: number
  /** Of forms. */
  readonly count: number

  constructor(forms: readonly Form[]) {
    this.count = forms.length
    this.shortest = Math.min(...forms.map(({ bytes }) => bytes.length))
    this.#units = new Uint16Array(forms.reduce((sum, { bytes }) => sum + bytes.length + 1, 1))
    let at = 1
    for (const { bytes, lines } of forms) {
      const first = bytes[0] ?? 0
      this.#beginning.set(first, [...(this.#beginning.get(first) ?? []), at])
      this.#firsts.add(first)
      for (const [index, byte] of bytes.entries())
        this.#units[at + index] = byte | (lines && index >= unbroken ? mayBreak : 0)
      at += bytes.length + 1
      this.#units[at - 1] = formEnd
    }
  }

  get bytes(): number {
    return this.#units.byteLength
  }

  /** Puts each place to which `char` leads from `place` into `to`. */
  after(place: number, char: number, to: number[]): void {
    const size = this.#units.length
    if (place >= size && place < 2 * size) {
      if (char === lineFeed) to.push(place + size)
      return
    }
    const octets = char < 0x80 ? undefined : octetsOf(char)
    if (place === start) {
      for (const at of this.#beginning.get(char) ?? []) to.push(at + 1)
      if (octets !== undefined)
        for (const at of this.#beginning.get(octets[0] ?? 0) ?? []) this.#match(at, octets, to)
      return
    }
    const at = place % size
    const unit = this.#units[at] ?? formEnd
    if ((unit & octetOrEnd) === char) to.push(at + 1)
    if (octets !== undefined) this.#match(at, octets, to)
    if (place !== at || (unit & mayBreak) === 0) return
    if (char === carriageReturn) to.push(at + size)
    if (char === lineFeed) to.push(at + 2 * size)
  }

  #match(at: number, octets: Buffer, to: number[]): void {
    for (const [index, octet] of octets.entries())
      if (((this.#units[at + index] ?? formEnd) & octetOrEnd) !== octet) return
    to.push(at + octets.length)
  }

  /** Whether a form has been read to its end. */
  isEnd(place: number): boolean {
    return this.#units[place] === formEnd
  }

  /** Whether one of `chars` leads on from `place`. */
  goesOn(place: number, chars: CharSet): boolean {
    if (place === start) return chars.meets(this.#firsts)
    const size = this.#units.length
    if (place >= size && place < 2 * size) return chars.has(lineFeed)
    const unit = this.#units[place % size] ?? formEnd
    if (chars.has(unit & 0xff)) return true
    return place < size && (unit & mayBreak) !== 0 && (chars.has(lineFeed) || chars.has(carriageReturn))
  }
}

/** A character beyond ASCII in UTF-8; what HTML has one name for as these two. One of Latin-1 is its own byte, too. */
function octetsOf(char: number): Buffer {
  return Buffer.from(char === fj ? 'fj' : String.fromCodePoint(char))
}

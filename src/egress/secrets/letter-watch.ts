import { separator } from './alphabet.ts'
import { type Fingerprints, farthest, lettersWritten, type Mark } from './fingerprints.ts'
import { LetterStream } from './letter-stream.ts'
import { root } from './writings.ts'

/** A stretch of a stream. */
export interface Stretch {
  from: number
  to: number
}

/**
 * Finds out in a stream of bytes where forms may stand, by the fingerprints of their letters. Each of them is found,
 * and little else; how long it takes depends on the bytes alone, unless they have all letters of a fingerprint.
 */
export class LetterWatch {
  readonly #of: Fingerprints
  readonly #stream: LetterStream
  /** Of long forms that have begun: where, and with which letter and byte at the latest they will have ended. */
  #begun: { from: number; until: number; within: number }[] = []
  #found: Stretch | undefined
  #end = 0
  /** From where on, and before where, it is known of all that begins that it does not go on. */
  readonly #settled = { from: 0, to: 0 }
  /** Whether the last byte was a separator. */
  #isSeparate = true

  constructor(of: Fingerprints) {
    this.#of = of
    this.#stream = new LetterStream(root, of.alphabet, of.prints, (length, end) => this.#look(length, end))
  }

  /**
   * Reads on: the first of `bytes` stands at `offset`. Returns from where on to look, and up to where at least, when
   * forms may have come to their end.
   */
  read(bytes: Buffer, offset: number): Stretch | undefined {
    this.#found = undefined
    for (let at = 0; at < bytes.length; at += 1) {
      if (this.#isSeparate) {
        at = this.#nextStretch(bytes, at)
        this.#separate(offset + at)
      }
      at = this.#stream.read(bytes, at, bytes.length, offset)
      this.#isSeparate = at < bytes.length
    }
    this.#end = offset + bytes.length
    return this.#found
  }

  /** No form goes on behind `at`. */
  close(at: number): void {
    this.settle(0, at)
    this.#separate(at)
    this.#isSeparate = true
  }

  /** Of what begins from `from` on and before `to` it is known what it is: nothing that goes on. */
  settle(from: number, to: number): void {
    const settled = this.#settled
    settled.from = from > settled.to ? from : Math.min(from, settled.from)
    settled.to = to
    this.#begun = this.#begun.filter((begun) => !this.#isSettled(begun.from))
  }

  #isSettled(place: number): boolean {
    return place >= this.#settled.from && place < this.#settled.to
  }

  /** Where a long form has begun that may not have ended. */
  get heldFrom(): number | undefined {
    // What may be of a writing that has begun counts only when it is not.
    return this.#begun.length === 0 ? undefined : this.#begunBefore(Math.min(...this.#stream.ends), this.#end)
  }

  /**
   * Where a form may have begun of which more letters stand at the end than are untelling. Of the last ones, too few to
   * be known, it says nothing.
   */
  get tellingFrom(): number | undefined {
    const { ends } = this.#stream
    const places = [this.heldFrom, ...ends.map((end) => this.#beginningUpTo(end))]
    return places.reduce((least, place) => (least === undefined || (place ?? least) < least ? place : least))
  }

  /** What stands before is of no form that may be whole later, unless it is held. */
  get neededFrom(): number {
    const stream = this.#stream
    return stream.placeOf(Math.min(...stream.ends) - lettersWritten(this.#of.mostUntold))
  }

  #beginningUpTo(end: number): number | undefined {
    const stream = this.#stream
    const of = this.#of
    const most = end - stream.since
    let first: number | undefined
    for (const { letters, behind } of of.begun) {
      if (letters > most) break
      for (let to = end - Math.min(behind, most - letters); to <= end; to += 1)
        if (
          of.isBeginning(stream.print(letters, to), end - to) &&
          !this.#isSettled(stream.placeOf(to - letters))
        )
          first = Math.min(first ?? to, to - letters)
    }
    return first === undefined ? undefined : stream.placeOf(first - 1)
  }

  /** The first place from `from` on behind which no separator stands, as far as the shortest form reaches. */
  #nextStretch(bytes: Buffer, from: number): number {
    const { alphabet, shortest } = this.#of
    for (let at = from; ; ) {
      let gap = Math.min(at + shortest, bytes.length) - 1
      while (gap >= at && alphabet.kinds[bytes[gap] ?? 0] !== separator) gap -= 1
      if (gap < at) return at
      at = gap + 1
    }
  }

  /** Where the first of the long forms has begun that may go on up to the `end`th letter, and to `at`. */
  #begunBefore(end: number, at: number): number | undefined {
    const alive = this.#begun.findIndex(({ until, within }) => until >= end && within >= at)
    if (alive !== 0) this.#begun = alive === -1 ? [] : this.#begun.slice(alive)
    return this.#begun[0]?.from
  }

  #separate(at: number): void {
    this.#stream.separate(at)
    this.#begun.length = 0
  }

  #look(length: number, end: number): void {
    const stream = this.#stream
    if (end - stream.since < length) return
    for (const mark of this.#of.marksOf(stream.print(length, end), length)) this.#mark(mark, end)
  }

  #mark({ before, behind, reach, isEnd }: Mark, end: number): void {
    const stream = this.#stream
    const from = before <= farthest ? stream.placeOf(end - before) : stream.runAt
    const to = stream.placeOf(end - 1)
    if (!isEnd) {
      this.#begun.push({ from, until: end + behind, within: from + reach })
      return
    }
    const least = Math.min(from, this.#begunBefore(end, to) ?? from)
    const found = this.#found ?? { from: least, to }
    this.#found = { from: Math.min(found.from, least), to: Math.max(found.to, to) }
  }
}

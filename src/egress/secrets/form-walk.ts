import { softBreak } from './char-set.ts'
import type { FormFilter } from './form-filter.ts'
import { FormScan } from './form-scan.ts'
import { type FormTable, start } from './form-table.ts'
import type { Step } from './writing-tree.ts'
import type { Writings } from './writings.ts'

/** One way to read the last bytes as the beginning of a form. */
interface Reading {
  /** Where the form's first byte stands. */
  from: number
  /** How much of the form has been read. */
  place: number
  /** Within a writing of its next character; the root between two. */
  inner: Step
  /** Within a writing of the next character of that writing, since a text may be put into another. */
  outer: Step
}

/** More than there are in any text, unless a secret repeats itself and so does the text. */
const mostReadings = 256
/** Besides, since many forms may begin alike. */
const mostOfEachForm = 8
/** So many are compared one by one. */
const few = 12

/**
 * Reads bytes that come in pieces for forms whose characters are written in whatever ways, twice over. Every reading
 * that is still possible is followed from byte to byte, the earliest first. Throws when there are too many.
 */
export class FormWalk {
  readonly #table: FormTable
  readonly #filter: FormFilter
  readonly #writings: Writings
  readonly #most: number
  #now: Reading[] = []
  #next: Reading[] = []
  readonly #keys = new Set<number>()
  readonly #places: number[] = []
  #end = 0
  #found: (from: number, to: number) => void = () => undefined
  /** What was found last, and which forms end with it. */
  readonly #told = { from: -1, to: -1, places: [] as number[] }

  constructor(table: FormTable, filter: FormFilter, writings: Writings) {
    this.#table = table
    this.#filter = filter
    this.#writings = writings
    this.#most = mostReadings + mostOfEachForm * table.count
  }

  /**
   * Reads on: the first of `bytes` stands at `offset`. `found` is told where each form stands, in the order in which
   * they end, and once of those that stand at the same place.
   */
  push(bytes: Buffer, offset: number, found: (from: number, to: number) => void): void {
    if (bytes.length === 0) return
    this.#found = found
    const scan = new FormScan(this.#filter, bytes)
    let at = this.#now.length > 0 ? this.#follow(bytes, 0, offset, scan) : 0
    while ((at = scan.next(at)) < bytes.length) at = this.#follow(bytes, at, offset, scan)
  }

  /** Where what may be the beginning of a form begins; undefined when the last bytes are none. */
  get earliest(): number | undefined {
    return this.#now[0]?.from
  }

  /** What was at `count` is at 0 now. */
  shift(count: number): void {
    for (const reading of this.#now) reading.from -= count
    this.#told.from -= count
    this.#told.to -= count
  }

  /** Reads on from `at` until nothing is left of any reading; the index of the byte behind. */
  #follow(bytes: Buffer, at: number, offset: number, scan: FormScan): number {
    let next = at
    do {
      const byte = bytes[next] ?? 0
      this.#end = offset + next + 1
      for (const { from, place, inner, outer } of this.#now) this.#read(byte, from, place, inner, outer)
      const { root } = this.#writings
      if (scan.begins(next)) this.#read(byte, offset + next, start, root, root)
      ;[this.#now, this.#next] = [this.#next, this.#now]
      this.#next.length = 0
      if (this.#keys.size > 0) this.#keys.clear()
      next += 1
    } while (next < bytes.length && this.#now.length > 0)
    return next
  }

  #read(byte: number, from: number, place: number, inner: Step, outer: Step): void {
    const { root, afterBreak } = this.#writings
    const isBetween = outer === root || outer === afterBreak
    if (isBetween) this.#char(byte, from, place, inner)
    const next = outer.next.get(byte)
    if (next === undefined) return
    for (const char of next.says) {
      if (char !== softBreak) this.#char(char, from, place, inner)
      else if (place !== start || inner !== root) this.#keep(from, place, inner, afterBreak)
    }
    if (next.next.size > 0 && this.#leadsOn(place, inner, next)) this.#keep(from, place, inner, next)
  }

  /** A character of what is written, which may be of a writing itself. */
  #char(char: number, from: number, place: number, inner: Step): void {
    const { root, afterBreak } = this.#writings
    if (inner === root || inner === afterBreak) this.#advance(char, from, place)
    const next = inner.next.get(char)
    if (next === undefined) return
    for (const said of next.says) {
      if (said !== softBreak) this.#advance(said, from, place)
      else if (place !== start) this.#keep(from, place, afterBreak, root)
    }
    if (next.next.size > 0 && this.#goesOn(place, next)) this.#keep(from, place, next, root)
  }

  #advance(char: number, from: number, place: number): void {
    const { root } = this.#writings
    this.#places.length = 0
    this.#table.after(place, char, this.#places)
    for (const to of this.#places) {
      if (this.#table.isEnd(to)) this.#tell(from, to)
      else this.#keep(from, to, root, root)
    }
  }

  #tell(from: number, place: number): void {
    const told = this.#told
    if (told.to === this.#end && (told.from === from || told.places.includes(place))) return
    if (told.to !== this.#end) told.places.length = 0
    told.places.push(place)
    told.from = from
    told.to = this.#end
    this.#found(from, this.#end)
  }

  #goesOn(place: number, inner: Step): boolean {
    return this.#table.goesOn(place, inner.ahead) || (place !== start && inner.ahead.has(softBreak))
  }

  /** Whether something that is said ahead of `outer` leads on from there. */
  #leadsOn(place: number, inner: Step, outer: Step): boolean {
    const { root, afterBreak } = this.#writings
    const { ahead } = outer
    if (ahead.has(softBreak) && (place !== start || inner !== root)) return true
    if ((inner === root || inner === afterBreak) && this.#table.goesOn(place, ahead)) return true
    for (const [char, next] of inner.next)
      if (ahead.has(char) && (next.says.length > 0 || this.#goesOn(place, next))) return true
    return false
  }

  /** Of readings that go on alike the first, which is the earliest, is enough. */
  #keep(from: number, place: number, inner: Step, outer: Step): void {
    const next = this.#next
    if (next.length < few) {
      for (const kept of next)
        if (kept.place === place && kept.inner === inner && kept.outer === outer) return
    } else {
      if (next.length === few) for (const kept of next) this.#keys.add(keyOf(kept))
      const key = keyOf({ place, inner, outer })
      if (this.#keys.has(key)) return
      this.#keys.add(key)
      if (next.length >= this.#most) throw new Error('too many beginnings of a credential at once')
    }
    next.push({ from, place, inner, outer })
  }
}

function keyOf({ place, inner, outer }: Omit<Reading, 'from'>): number {
  return (place * 16_384 + inner.id) * 16_384 + outer.id
}

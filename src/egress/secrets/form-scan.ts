import { type FormFilter, first, lead, opening } from './form-filter.ts'
import type { Step } from './writing-tree.ts'

/** In a run of bytes that may all stand in forms, an opening is looked for further and further ahead. */
const mostAhead = 4_096

/**
 * Where in some bytes a form may begin. What begins somewhere is as long as the shortest form at least, so bytes that
 * stand in no form, seen near the end of that stretch, let the scan go on behind them without a look at the others
 * (Wu and Manber, "A fast algorithm for multi-pattern searching", 1994).
 */
export class FormScan {
  readonly #filter: FormFilter
  readonly #bytes: Buffer
  /** Behind what has been looked at and might all be of a form. */
  #looked = 0
  /** The last lead that was looked for. */
  #lead = -1

  constructor(filter: FormFilter, bytes: Buffer) {
    this.#filter = filter
    this.#bytes = bytes
  }

  /** The first place from `from` on where a form may begin, or behind the end. */
  next(from: number): number {
    const bytes = this.#bytes
    const { length } = bytes
    const filter = this.#filter
    let ahead = 0
    for (let at = from; at < length; ) {
      const stretch = filter.skip(bytes, at, this.#looked)
      ahead = stretch === at ? Math.min(2 * ahead + filter.shortest, mostAhead) : 0
      at = stretch
      this.#looked = Math.min(at + filter.shortest, length) - 2
      const opener = this.#nextOpening(at, Math.min(Math.max(at + 1, this.#looked + ahead), length))
      if (opener > at) {
        at = opener
        continue
      }
      // Before the first writing all must be as in a form itself.
      const end = Math.min(this.#looked + 2, this.#nextLead(at))
      const gap = filter.lastBareGap(bytes, at, end - 3)
      if (gap < at && this.begins(at)) return at
      at = Math.max(gap, at) + 1
    }
    return length
  }

  /** The first of these places where a form may begin by what stands there and next to it; or `end`. */
  #nextOpening(from: number, end: number): number {
    const bytes = this.#bytes
    const { kinds } = this.#filter
    for (let at = from; at < end; at += 1) {
      const kind = kinds[bytes[at] ?? 0] ?? 0
      if ((kind & opening) !== 0 && ((kind & lead) !== 0 || this.#isHead(at))) return at
    }
    return end
  }

  /** Whether a form may begin with the two bytes here, or with the first and a writing of the second. */
  #isHead(at: number): boolean {
    const second = this.#bytes[at + 1]
    if (second === undefined || ((this.#filter.kinds[second] ?? 0) & lead) !== 0) return true
    return this.#filter.isHead(this.#bytes[at] ?? 0, second)
  }

  #nextLead(from: number): number {
    if (this.#lead >= from) return this.#lead
    const bytes = this.#bytes
    const { kinds } = this.#filter
    let at = from
    while (at < bytes.length && ((kinds[bytes[at] ?? 0] ?? 0) & lead) === 0) at += 1
    this.#lead = at
    return at
  }

  /** Whether a form may begin here, as it is or with a writing. */
  begins(at: number): boolean {
    const { kinds, root } = this.#filter
    const byte = this.#bytes[at] ?? 0
    const kind = kinds[byte] ?? 0
    if ((kind & first) !== 0 && this.#isHead(at)) return true
    return (kind & lead) !== 0 && this.#says(root.next.get(byte), at + 1, true)
  }

  /** Whether what goes on from `at` may say what a form begins with, or begin to say it if it is `outer`. */
  #says(from: Step | undefined, at: number, outer: boolean): boolean {
    const { firsts, root } = this.#filter
    let step = from
    for (let next = at; step !== undefined; next += 1) {
      for (const char of step.says) {
        if (firsts.has(char)) return true
        if (outer && this.#says(root.next.get(char), next, false)) return true
      }
      if (step.next.size === 0) return false
      const byte = this.#bytes[next]
      if (byte === undefined || this.#isWriting(next)) return true
      step = step.next.get(byte)
    }
    return false
  }

  /** Whether a writing may begin at `at`, by its first three bytes. */
  #isWriting(at: number): boolean {
    const { kinds, root } = this.#filter
    const [byte = 0, second, third] = [this.#bytes[at], this.#bytes[at + 1], this.#bytes[at + 2]]
    if (((kinds[byte] ?? 0) & lead) === 0) return false
    const step = root.next.get(byte)
    if (step === undefined) return false
    if (step.says.length > 0 || second === undefined || ((kinds[second] ?? 0) & lead) !== 0) return true
    const next = step.next.get(second)
    if (next === undefined) return false
    if (next.says.length > 0 || third === undefined || ((kinds[third] ?? 0) & lead) !== 0) return true
    return next.next.has(third)
  }
}

import type { FormFilter } from './form-filter.ts'
import { FormScan } from './form-scan.ts'
import { type FormStates, fresh, type State } from './form-states.ts'

/**
 * Reads bytes that come in pieces for forms whose characters are written in whatever ways, twice over. Every reading
 * that is still possible is followed from byte to byte, the earliest first. Throws when there are too many.
 */
export class FormWalk {
  readonly #filter: FormFilter
  readonly #states: FormStates
  #state: State
  /** Where each reading of the state began. */
  #starts: number[] = []
  #nextStarts: number[] = []
  /** What was found last, and which forms end with it. */
  readonly #told = { from: -1, to: -1, places: [] as number[] }

  constructor(filter: FormFilter, states: FormStates) {
    this.#filter = filter
    this.#states = states
    this.#state = states.none
  }

  /**
   * Reads on: the first of `bytes` stands at `offset`. `found` is told where each form stands, in the order in which
   * they end, and once of those that stand at the same place.
   */
  push(bytes: Buffer, offset: number, found: (from: number, to: number) => void): void {
    if (bytes.length === 0) return
    const scan = new FormScan(this.#filter, bytes)
    let at = this.#isIdle ? 0 : this.#follow(bytes, 0, offset, scan, found)
    while ((at = scan.next(at)) < bytes.length) at = this.#follow(bytes, at, offset, scan, found)
  }

  /** Where what may be the beginning of a form begins; undefined when the last bytes are none. */
  get earliest(): number | undefined {
    return this.#isIdle ? undefined : this.#starts[0]
  }

  /** What was at `count` is at 0 now. */
  shift(count: number): void {
    for (const index of this.#state.readings.keys()) this.#starts[index] = (this.#starts[index] ?? 0) - count
    this.#told.from -= count
    this.#told.to -= count
  }

  get #isIdle(): boolean {
    return this.#state.readings.length === 0
  }

  /** Reads on from `at` until nothing is left of any reading; the index of the byte behind. */
  #follow(
    bytes: Buffer,
    at: number,
    offset: number,
    scan: FormScan,
    found: (from: number, to: number) => void,
  ): number {
    let next = at
    do {
      const here = offset + next
      const { to, from, ends } = this.#states.move(this.#state, bytes[next] ?? 0, scan.begins(next))
      const [starts, nextStarts] = [this.#starts, this.#nextStarts]
      const startOf = (number: number) => (number === fresh ? here : (starts[number] ?? 0))
      for (const end of ends) this.#tell(startOf(end.from), here + 1, end.place, found)
      for (let index = 0; index < from.length; index += 1) nextStarts[index] = startOf(from[index] ?? 0)
      this.#starts = nextStarts
      this.#nextStarts = starts
      this.#state = to
      next += 1
    } while (next < bytes.length && !this.#isIdle)
    return next
  }

  #tell(from: number, to: number, place: number, found: (from: number, to: number) => void): void {
    const told = this.#told
    if (told.to === to && (told.from === from || told.places.includes(place))) return
    if (told.to !== to) told.places.length = 0
    told.places.push(place)
    told.from = from
    told.to = to
    found(from, to)
  }
}

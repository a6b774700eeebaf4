import { type FormStates, fresh, type State } from './form-states.ts'

/**
 * Reads bytes that come in pieces for forms whose characters are written in whatever ways, twice over. Every reading
 * that is still possible is followed from byte to byte, the earliest first. Throws when there are too many.
 */
export class FormWalk {
  readonly #states: FormStates
  #state: State
  /** Where each reading of the state began. */
  #starts: number[] = []
  #nextStarts: number[] = []
  /** What was found last, and which forms end with it. */
  readonly #told = { from: -1, to: -1, places: [] as number[] }

  constructor(states: FormStates) {
    this.#states = states
    this.#state = states.none
  }

  /**
   * Reads on: the first of `bytes` stands at `offset`. `found` is told where each form stands, in the order in which
   * they end, and once of those that stand at the same place.
   */
  push(bytes: Buffer, offset: number, found: (from: number, to: number) => void): void {
    const { none, opens } = this.#states
    for (let next = 0; next < bytes.length; next += 1) {
      if (this.#state === none) {
        while (next < bytes.length && opens[bytes[next] ?? 0] === 0) next += 1
        if (next === bytes.length) return
      }
      const here = offset + next
      const { to, from, ends } = this.#states.move(this.#state, bytes[next] ?? 0)
      const [starts, nextStarts] = [this.#starts, this.#nextStarts]
      const startOf = (number: number) => (number === fresh ? here : (starts[number] ?? 0))
      for (const end of ends) this.#tell(startOf(end.from), here + 1, end.place, found)
      for (let index = 0; index < from.length; index += 1) nextStarts[index] = startOf(from[index] ?? 0)
      this.#starts = nextStarts
      this.#nextStarts = starts
      this.#state = to
    }
  }

  /** Where what may be the beginning of a form begins; undefined when the last bytes are none. */
  get earliest(): number | undefined {
    return this.#state.readings.length === 0 ? undefined : this.#starts[0]
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

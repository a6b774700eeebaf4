import { softBreak } from './char-set.ts'
import { type FormTable, start } from './form-table.ts'
import type { Step } from './writing-tree.ts'
import { afterBreak, root } from './writings.ts'

/** One way to read the last bytes as the beginning of a form, but for where it began. */
interface Reading {
  /** How much of the form has been read. */
  place: number
  /** Within a writing of its next character; the root between two. */
  inner: Step
  /** Within a writing of the next character of that writing, since a text may be put into another. */
  outer: Step
}

/** All readings that are possible behind some bytes, those that began earlier first. */
export interface State {
  readonly readings: readonly Reading[]
  readonly moves: Map<number, Move>
}

/** What one more byte makes of a state. */
export interface Move {
  readonly to: State
  /** For each reading of `to` the number of the one that it goes on from, or `fresh`. */
  readonly from: readonly number[]
  /** What has been read to its end. */
  readonly ends: readonly { from: number; place: number }[]
}

/** In place of a number: it begins with this byte. */
export const fresh = -1

/** More than there are in any text, unless a secret repeats itself and so does the text. */
const mostReadings = 256
/** Besides, since many forms may begin alike. */
const mostOfEachForm = 8
/** So many are compared one by one. */
const few = 12
/** Of states and moves, in parts of about a hundred bytes, with one form and with many; beyond, they are made again. */
const fewestKept = 8_192
const keptForEachForm = 128
const mostKept = 65_536
const partBytes = 100
/** What a state takes beside its readings, in such parts. */
const ofState = 4
/** What ordinary texts make of the automaton, of what they may. */
const ordinarily = 1 / 8

/**
 * The automaton that reads forms, made as far as the texts need it: what a byte makes of a state is found out once (Aho,
 * Sethi and Ullman, "Compilers", 1986, section 3.7: lazy transition evaluation), for everybody who reads.
 */
export class FormStates {
  readonly none: State = { readings: [], moves: new Map() }
  /** Most of what is found out: that a byte goes on with nothing. */
  readonly #nowhere: Move = { to: this.none, from: [], ends: [] }
  readonly #table: FormTable
  readonly #most: number
  readonly #known = new Map<string, State>()
  readonly #mostKept: number
  #kept = 0
  #opens: Uint8Array | undefined
  readonly #keys = new Set<number>()
  readonly #places: number[] = []
  #readings: Reading[] = []
  #from: number[] = []
  #ends: { from: number; place: number }[] = []
  #at = fresh

  constructor(table: FormTable) {
    this.#table = table
    this.#most = mostReadings + mostOfEachForm * table.count
    this.#mostKept = Math.min(mostKept, fewestKept + keptForEachForm * table.count)
  }

  /** About how much memory it takes with ordinary texts; whatever the texts, not more than eight times as much. */
  get bytes(): number {
    return this.#mostKept * partBytes * ordinarily
  }

  /** For each byte whether something may begin with it. */
  get opens(): Uint8Array {
    this.#opens ??= Uint8Array.from({ length: 256 }, (_, byte) =>
      this.move(this.none, byte) === this.#nowhere ? 0 : 1,
    )
    return this.#opens
  }

  /** Reads one more byte. Throws when too many readings are possible. */
  move(state: State, byte: number): Move {
    const known = state.moves.get(byte)
    if (known !== undefined) return known
    const move = this.#make(state, byte)
    state.moves.set(byte, move)
    return move
  }

  #make(state: State, byte: number): Move {
    if (this.#kept >= this.#mostKept) this.#forget()
    this.#readings = []
    this.#from = []
    this.#ends = []
    this.#keys.clear()
    for (const [number, { place, inner, outer }] of state.readings.entries()) {
      this.#at = number
      this.#read(byte, place, inner, outer)
    }
    this.#at = fresh
    this.#read(byte, start, root, root)
    this.#kept += 1 + this.#from.length + this.#ends.length
    if (this.#from.length === 0 && this.#ends.length === 0) return this.#nowhere
    // Copied, since an array that grew has room for more.
    return { to: this.#stateOf(this.#readings), from: this.#from.slice(), ends: this.#ends.slice() }
  }

  /** What was made is made again. Whoever stands in a state stays there, but it leads to none of the others any more. */
  #forget(): void {
    for (const { moves } of this.#known.values()) moves.clear()
    this.none.moves.clear()
    this.#known.clear()
    this.#kept = 0
  }

  #stateOf(readings: readonly Reading[]): State {
    if (readings.length === 0) return this.none
    const name = readings.map(keyOf).join(' ')
    const known = this.#known.get(name)
    if (known !== undefined) return known
    this.#kept += ofState + readings.length
    const state = { readings: readings.slice(), moves: new Map() }
    this.#known.set(name, state)
    return state
  }

  #read(byte: number, place: number, inner: Step, outer: Step): void {
    const isBetween = outer === root || outer === afterBreak
    if (isBetween) this.#char(byte, place, inner)
    const next = outer.next.get(byte)
    if (next === undefined) return
    for (const char of next.says) {
      if (char !== softBreak) this.#char(char, place, inner)
      else if (place !== start || inner !== root) this.#keep(place, inner, afterBreak)
    }
    if (next.next.size > 0 && this.#leadsOn(place, inner, next)) this.#keep(place, inner, next)
  }

  /** A character of what is written, which may be of a writing itself. */
  #char(char: number, place: number, inner: Step): void {
    if (inner === root || inner === afterBreak) this.#advance(char, place)
    const next = inner.next.get(char)
    if (next === undefined) return
    for (const said of next.says) {
      if (said !== softBreak) this.#advance(said, place)
      else if (place !== start) this.#keep(place, afterBreak, root)
    }
    if (next.next.size > 0 && this.#goesOn(place, next)) this.#keep(place, next, root)
  }

  #advance(char: number, place: number): void {
    this.#places.length = 0
    this.#table.after(place, char, this.#places)
    for (const to of this.#places) {
      if (this.#table.isEnd(to)) this.#ends.push({ from: this.#at, place: to })
      else this.#keep(to, root, root)
    }
  }

  #goesOn(place: number, inner: Step): boolean {
    return this.#table.goesOn(place, inner.ahead) || (place !== start && inner.ahead.has(softBreak))
  }

  /** Whether something that is said ahead of `outer` leads on from there. */
  #leadsOn(place: number, inner: Step, outer: Step): boolean {
    const { ahead } = outer
    if (ahead.has(softBreak) && (place !== start || inner !== root)) return true
    if ((inner === root || inner === afterBreak) && this.#table.goesOn(place, ahead)) return true
    for (const [char, next] of inner.next)
      if (ahead.has(char) && (next.says.length > 0 || this.#goesOn(place, next))) return true
    return false
  }

  /** Of readings that go on alike the first, which is the earliest, is enough. */
  #keep(place: number, inner: Step, outer: Step): void {
    const kept = this.#readings
    const reading = { place, inner, outer }
    if (kept.length < few) {
      for (const one of kept) if (one.place === place && one.inner === inner && one.outer === outer) return
    } else {
      if (kept.length === few) for (const one of kept) this.#keys.add(keyOf(one))
      const key = keyOf(reading)
      if (this.#keys.has(key)) return
      this.#keys.add(key)
      if (kept.length >= this.#most) throw new Error('too many beginnings of a credential at once')
    }
    kept.push(reading)
    this.#from.push(this.#at)
  }
}

function keyOf({ place, inner, outer }: Reading): number {
  return (place * 16_384 + inner.id) * 16_384 + outer.id
}

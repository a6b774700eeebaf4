import type { FormSearch } from './form-search.ts'
import type { FormWalk } from './form-walk.ts'
import type { LetterWatch } from './letter-watch.ts'
import { Scrubber, type ScrubForms } from './scrub.ts'
import { WaitingBytes } from './waiting-bytes.ts'

/**
 * So many of the last bytes wait whatever they are. Nobody makes more of them than these wait for what they say: a
 * beginning of a form that is longer, however it is written, has more of the secret in it than can be guessed at once.
 */
const alwaysWaiting = 16 * 1024

/** So many bytes are read again before it is asked whether that is enough. */
const stride = 256

/** Of the last bytes, what tells that no form goes on. */
const tellingEnd = 24
/**
 * A line's end behind what is neither a letter of base64 nor "=", however written; or an empty line behind what is no
 * "=", for a soft break and a line of base64 may end there both. No form goes on behind these, whatever is searched for.
 * With the first lines of JSON end, with the second events.
 */
const closed = new RegExp(
  [
    String.raw`(?:["\], >]|["\]} \n]\}|: ?-?[0-9.]{1,9}\}|(?:true|false|null)\})(?:\r?\n){1,2}$`,
    String.raw`(?:[^=;}\r\n0-9A-Fa-f]|[^;}\r\n0-9A-Fa-f][0-9A-Fa-f])\r?\n\r?\n$`,
  ].join('|'),
)

/**
 * Masks every spelling of some secrets in a stream, and lets go of it by a measure that does not depend on what is
 * searched for. A client sees when each byte comes and how the bytes are cut. If only what may begin a secret waited,
 * whoever has an upstream send bytes of theirs would learn from it which bytes begin one, and so the secret itself, one
 * character after the other, from an upstream that never shows it. Throws when a text repeats a secret that repeats
 * itself.
 */
export class EvenScrubber {
  readonly #forms: ScrubForms
  readonly #scrubber: Scrubber
  readonly #bytes = new WaitingBytes()
  #search: FormSearch
  /** Lent for as long as a stream goes on. */
  #watch: LetterWatch | undefined
  /** Reads again where forms may stand, up to here at least. */
  #walk: FormWalk | undefined
  #walksTo = 0
  #walkedFrom = 0
  /** What ends before was told. */
  #told = 0
  #hits = 0
  #end = ''
  #marked = 0

  constructor(forms: ScrubForms) {
    this.#forms = forms
    this.#scrubber = new Scrubber(forms)
    this.#search = forms.search
  }

  /** Occurrences masked so far. */
  get hits(): number {
    return this.#hits + this.#scrubber.hits
  }

  /** How many bytes wait. */
  get waiting(): number {
    return this.#bytes.end - this.#bytes.left
  }

  /** Whether what waits may be more of a secret's beginning than may be known: a quarter of it, seven letters at most. */
  get isTelling(): boolean {
    return this.#tellingFrom < this.#bytes.end
  }

  /** What can be let go after this piece. */
  push(piece: Buffer): Buffer {
    const bytes = this.#bytes
    this.#renew()
    const at = bytes.end
    bytes.add(piece)
    this.#read(piece, at)
    this.#end = (this.#end + piece.toString('latin1', Math.max(0, piece.length - tellingEnd))).slice(
      -tellingEnd,
    )
    const isClosed = !this.#search.hasLineEnds && closed.test(this.#end)
    if (isClosed) this.#reading.close(bytes.end)
    const known = Math.min(isClosed ? bytes.end : bytes.end - alwaysWaiting, this.#heldFrom)
    const taken = bytes.take(known)
    bytes.forget(known)
    return taken
  }

  /** What waits from here on has come later. */
  mark(): void {
    this.#marked = this.#bytes.end
  }

  /** Whether something has come since. */
  get isMoving(): boolean {
    return this.#bytes.end > this.#marked
  }

  /**
   * What had come by the mark, for it has waited long enough; but no more of what may begin a secret than tells
   * nothing. If it is one after all, the rest of it is masked.
   */
  takeMarked(): Buffer {
    const bytes = this.#bytes
    const telling = this.#tellingFrom
    const taken = bytes.take(Math.min(this.#marked, telling))
    bytes.forget(Math.min(telling, this.#reading.neededFrom, this.#walk?.earliest ?? bytes.end))
    return taken
  }

  /** What was searched when something threw, and nothing of what may begin a secret. */
  takeSearched(): Buffer {
    const needed = Math.min(this.#tellingFrom, this.#reading.neededFrom)
    return this.#bytes.take(this.#walk === undefined ? needed : Math.min(needed, this.#walkedFrom))
  }

  /** The rest, once the stream has ended well; after an error it is never asked for, and never let go. */
  end(): Buffer {
    const bytes = this.#bytes
    const rest = bytes.take(bytes.end)
    bytes.forget(bytes.end)
    this.#walk = undefined
    if (this.#watch !== undefined) this.#search.giveBack(this.#watch)
    this.#watch = undefined
    return rest
  }

  /** Whole fields, names and values alternating. */
  fields(flat: readonly string[]): string[] {
    return this.#scrubber.fields(flat)
  }

  /** What waits is looked at again when something else is searched for; what stands in it was counted. */
  #renew(): void {
    const { search } = this.#forms
    if (search === this.#search) return
    this.#search = search
    this.#watch = undefined
    this.#told = this.#bytes.end
    let from = search.lacksLetters ? 0 : Number.POSITIVE_INFINITY
    for (const { at, bytes } of this.#bytes.from(0)) {
      const found = this.#reading.read(bytes, at)
      if (found === undefined) continue
      from = Math.min(from, found.from)
      this.#walksTo = found.to
    }
    this.#walk = undefined
    if (from < this.#bytes.end) this.#walkFrom(from)
  }

  get #reading(): LetterWatch {
    this.#watch ??= this.#search.lend()
    return this.#watch
  }

  #read(piece: Buffer, at: number): void {
    const found = this.#reading.read(piece, at)
    if (found !== undefined) this.#walksTo = found.to
    if (this.#walk === undefined && this.#search.lacksLetters) this.#walkFrom(0)
    else if (found !== undefined && (this.#walk === undefined || found.from < this.#walkedFrom))
      this.#walkFrom(found.from)
    else this.#walkOn(piece, at)
  }

  #walkFrom(from: number): void {
    this.#walk = this.#search.begin()
    this.#walkedFrom = from
    for (const { at, bytes } of this.#bytes.from(from)) this.#walkOn(bytes, at)
  }

  /** As far as it has to: what may begin behind is found when it ends. */
  #walkOn(bytes: Buffer, at: number): void {
    for (let next = 0; next < bytes.length && this.#walk !== undefined; next += stride) {
      const part = bytes.subarray(next, next + stride)
      this.#walk.push(part, at + next, this.#tell)
      const end = at + next + part.length
      this.#told = Math.max(this.#told, end)
      if (this.#search.lacksLetters || end <= this.#walksTo) continue
      const alive = this.#walk.earliest ?? end
      if (alive < this.#walksTo) continue
      this.#walk = undefined
      this.#reading.settle(this.#walkedFrom, alive)
    }
  }

  readonly #tell = (from: number, to: number): void => {
    if (to > this.#told) this.#hits += 1
    this.#bytes.mask(from, to)
  }

  /** From where on something waits until it is known what it is: it has so many letters of a form. */
  get #heldFrom(): number {
    return Math.min(this.#walk?.earliest ?? this.#bytes.end, this.#reading.heldFrom ?? this.#bytes.end)
  }

  /** From where on what waits may be more of a secret's beginning than may be known; the end where it is not. */
  get #tellingFrom(): number {
    const { end } = this.#bytes
    if (this.#walk === undefined) return this.#reading.tellingFrom ?? end
    // What is read character by character is known; nobody gets so far who does not know all of a secret. That may stand
    // within another, which began before.
    this.#reading.settle(this.#walkedFrom, this.#walk.earliest ?? end)
    const from = Math.min(this.#heldFrom, this.#reading.tellingFrom ?? end)
    return end - from > this.#search.prints.untelling ? from : end
  }
}

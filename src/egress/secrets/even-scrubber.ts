import { Scrubber, type ScrubForms } from './scrub.ts'

const nothing = Buffer.alloc(0)

/**
 * So many of the last bytes wait whatever they are. Nobody makes more of them than these wait for what they say: a
 * beginning of a form that is longer, however it is written, has more of the secret in it than can be guessed at once.
 */
const alwaysWaiting = 16 * 1024

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
 * Searches a stream and lets go of it by a measure that does not depend on what is searched for. A client sees when
 * each byte comes and how the bytes are cut. If only what may begin a secret waited, whoever has an upstream send
 * bytes of theirs would learn from it which bytes begin one, and so the secret itself, one character after the other,
 * from an upstream that never shows it.
 */
export class EvenScrubber {
  readonly #scrubber: Scrubber
  /** What was searched and waits all the same. */
  #queue: Buffer[] = []
  #queued = 0
  #in = 0
  #out = 0
  #end = ''
  #marked = 0

  constructor(forms: ScrubForms) {
    this.#scrubber = new Scrubber(forms)
  }

  /** Occurrences masked so far. */
  get hits(): number {
    return this.#scrubber.hits
  }

  /** How many bytes wait. */
  get waiting(): number {
    return this.#in - this.#out
  }

  /** Whether what waits may be more of a secret's beginning than may be known. */
  get isTelling(): boolean {
    return this.#scrubber.isTelling
  }

  /** What can be let go after this piece. */
  push(piece: Buffer): Buffer {
    this.#add(this.#scrubber.push(piece))
    this.#in += piece.length
    this.#end = (this.#end + piece.toString('latin1', Math.max(0, piece.length - tellingEnd))).slice(
      -tellingEnd,
    )
    return this.#take(closed.test(this.#end) ? this.#queued : this.#in - alwaysWaiting - this.#out)
  }

  /** What waits from here on has come later. */
  mark(): void {
    this.#marked = this.#in
  }

  /** Whether something has come since. */
  get isMoving(): boolean {
    return this.#in > this.#marked
  }

  /**
   * What had come by the mark, for it has waited long enough; but no more of what may begin a secret than tells
   * nothing. If it is one after all, the rest of it is masked.
   */
  takeMarked(): Buffer {
    const searched = this.#take(this.#marked - this.#out)
    if (this.#queued > 0) return searched
    const begun = this.#scrubber.releaseUntelling(this.#in - this.#marked)
    this.#out += begun.length
    return joined([searched, begun])
  }

  /** What was searched, and nothing of what may begin a secret. */
  takeSearched(): Buffer {
    return this.#take(this.#queued)
  }

  /** The rest, once the stream has ended well; after an error it is never asked for, and never let go. */
  end(): Buffer {
    this.#add(this.#scrubber.end())
    return this.#take(this.#queued)
  }

  /** Whole fields, names and values alternating. */
  fields(flat: readonly string[]): string[] {
    return this.#scrubber.fields(flat)
  }

  #add(searched: Buffer): void {
    if (searched.length === 0) return
    this.#queue.push(searched)
    this.#queued += searched.length
  }

  /** In one piece, for where it was cut before tells what waited. */
  #take(count: number): Buffer {
    const size = Math.min(count, this.#queued)
    if (size <= 0) return nothing
    this.#queued -= size
    this.#out += size
    const taken: Buffer[] = []
    let more = size
    while (more > 0) {
      const [next = nothing] = this.#queue
      taken.push(next.subarray(0, more))
      if (next.length > more) this.#queue[0] = next.subarray(more)
      else this.#queue.shift()
      more -= Math.min(more, next.length)
    }
    return joined(taken)
  }
}

function joined(parts: readonly Buffer[]): Buffer {
  const [first = nothing, ...more] = parts.filter(({ length }) => length > 0)
  return more.length === 0 ? first : Buffer.concat([first, ...more])
}

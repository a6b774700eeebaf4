/** A stream that brings nothing for so long has paused, and whoever reads it may have to answer first. */
const lullMs = 50

/** What waits in a search, as far as a pause must know of it. */
export interface Waiting {
  /** How many bytes wait. */
  readonly waiting: number
  /** What waits from here on has come later. */
  mark(): void
  /** Whether something has come since. */
  readonly isMoving: boolean
}

/**
 * The pauses of a stream that is searched: of what waits goes on, by `letGo`, whatever had come by the mark and has
 * waited for so long since, be it the end of a message or the middle of a text. A stream that is made to wait has not
 * paused, since a client that does not read must not choose where it does.
 */
export class Lull {
  readonly #search: Waiting
  readonly #isHeld: () => boolean
  readonly #letGo: () => void
  #timer: NodeJS.Timeout | undefined
  #isOver = false

  constructor(options: { search: Waiting; isHeld: () => boolean; letGo: () => void }) {
    this.#search = options.search
    this.#isHeld = options.isHeld
    this.#letGo = options.letGo
  }

  /** To be told when something has come. */
  wait(): void {
    if (this.#timer !== undefined || this.#isOver || this.#search.waiting === 0) return
    this.#search.mark()
    this.#timer = setTimeout(() => this.#passed(), lullMs)
  }

  /** To be told when the stream was made to wait and goes on: what waits has waited for nothing yet. */
  restart(): void {
    if (this.#timer === undefined) return
    this.#stop()
    this.wait()
  }

  /** From here on nothing goes on. */
  end(): void {
    this.#isOver = true
    this.#stop()
  }

  #stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #passed(): void {
    this.#timer = undefined
    const isHeld = this.#isHeld()
    if (!isHeld) this.#letGo()
    if (isHeld || this.#search.isMoving) this.wait()
  }
}

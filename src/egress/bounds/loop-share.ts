import { LRUCache } from 'lru-cache'

/** So much of the loop's time a person may take: what is more waits. */
const mostShare = 0.75
/** So long, in ms, they may take more than that: the time of some ten requests. */
const slackMs = 2
/** So long, in ms, each turn does of what waits, whoever's it is. */
const turnMs = 0.5

/** More of what waits is done, a little of it; whether some is left. */
type Step = () => boolean

/** What can be kept from reading as a whole only; neither may throw. */
export interface Reader {
  hold(): void
  release(): void
}

/** What one person takes of the loop, with all their connections. */
export interface Part {
  /** Whether something of theirs may be done now; `now` is `performance.now()`. */
  isFree(now: number): boolean
  /** Something of theirs was done, worth so many ms. */
  took(ms: number, now: number): void
  /** Does `step` in turns to come, as often as it says that something is left. It must not throw. */
  later(step: Step): void
  /** One more reader of theirs, until what is returned is called. */
  join(reader: Reader): () => void
  /** Holds all of their readers until what was done is paid off; this one again, which something may have set going. */
  hold(reader: Reader): void
}

/**
 * How much of the event loop's time goes to each person. Everybody waits until a turn of the loop is over, and what one
 * person had sent by then can take seconds to read: millions of frames of a byte fit into what a machine keeps of their
 * connections. So who takes more than their share waits, with all their connections, and each turn does a little of what
 * waits, of one person after another (docs/decisions/0042).
 */
export interface LoopShare {
  of(principalId: string): Part
}

export function createLoopShare(): LoopShare {
  const parts = new LRUCache<string, Part>({ max: 10_000 })
  /** In the order in which they are served. */
  const waiting: Steps[] = []

  const endTurn = () => {
    const until = performance.now() + turnMs
    while (performance.now() < until) {
      const one = waiting.shift()
      if (one === undefined) return
      const step = one.shift()
      if (step?.() === true) one.push(step)
      // Who was served goes behind the others.
      if (one.length > 0) waiting.push(one)
    }
    if (waiting.length > 0) setImmediate(endTurn)
  }
  const wait = (one: Steps) => {
    if (waiting.length === 0) setImmediate(endTurn)
    waiting.push(one)
  }

  return {
    of(principalId) {
      const known = parts.get(principalId)
      if (known !== undefined) return known
      const part = new PersonsPart(wait)
      parts.set(principalId, part)
      return part
    },
  }
}

/** What waits of one person. */
type Steps = Step[]

class PersonsPart implements Part {
  readonly #wait: (steps: Steps) => void
  readonly #steps: Steps = []
  readonly #readers = new Set<Reader>()
  /** In the order in which they are released. */
  readonly #held = new Set<Reader>()
  #freeAt = 0

  constructor(wait: (steps: Steps) => void) {
    this.#wait = wait
  }

  isFree(now: number): boolean {
    return this.#freeAt <= now && this.#steps.length === 0
  }

  took(ms: number, now: number): void {
    this.#freeAt = Math.max(this.#freeAt, now - slackMs) + ms / mostShare
  }

  later(step: Step): void {
    if (this.#steps.length === 0) this.#wait(this.#steps)
    this.#steps.push(step)
  }

  join(reader: Reader): () => void {
    this.#readers.add(reader)
    return () => {
      this.#readers.delete(reader)
      this.#held.delete(reader)
    }
  }

  hold(reader: Reader): void {
    if (this.#held.size === 0) {
      this.#rest()
      for (const other of this.#readers) this.#holdOne(other)
    } else this.#holdOne(reader)
  }

  #holdOne(reader: Reader): void {
    this.#held.add(reader)
    reader.hold()
  }

  #rest(): void {
    setTimeout(this.#release, Math.ceil(this.#freeAt - performance.now())).unref()
  }

  /** One after the other, each with a turn of its own: nobody knows before what they have to say. */
  readonly #release = (): void => {
    if (this.#freeAt > performance.now()) return this.#rest()
    const [reader] = this.#held
    if (reader === undefined) return
    this.#held.delete(reader)
    reader.release()
    if (this.#held.size > 0) setImmediate(this.#release)
  }
}

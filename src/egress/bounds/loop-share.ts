import { LRUCache } from 'lru-cache'

/** So much of the loop's time a person may take: what is more waits. */
const mostShare = 0.75
/** So long, in ms, they may take more than that: the time of some ten requests. */
const slackMs = 2
/** So long, in ms, each turn does of what waits, whoever's it is. */
const turnMs = 0.5
/** So often, in ms, readers are looked at for what they read that nobody was told of. */
const lookEveryMs = 10
/** Only where the loop did something for so much of the time since: else nobody waited for anybody. */
const busyShare = 0.25

/** More of what waits is done, a little of it; whether some is left. */
type Step = () => boolean

/** What can be kept from reading as a whole only; neither may throw. */
export interface Reader {
  hold(): void
  release(): void
  /** Tells what it has read that it was not told of; whether that was worth looking again a turn later. */
  look(): boolean
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
  const waiting: PersonsPart[] = []
  let isComing = false

  const endTurn = () => {
    isComing = false
    const until = performance.now() + turnMs
    let resting = 0
    for (let now = performance.now(); now < until && resting < waiting.length; now = performance.now()) {
      const one = waiting.shift()
      if (one === undefined) return
      const isResting = !one.hasPaid(now)
      resting = isResting ? resting + 1 : 0
      // Who was served goes behind the others.
      if (isResting || one.serve()) waiting.push(one)
    }
    if (waiting.length > 0) come(resting === waiting.length)
  }
  const looks = createLooks()
  const come = (later: boolean) => {
    if (isComing) return
    isComing = true
    if (later) setTimeout(endTurn, 1)
    else setImmediate(endTurn)
  }
  const wait = (one: PersonsPart) => {
    waiting.push(one)
    come(false)
  }

  return {
    of(principalId) {
      const known = parts.get(principalId)
      if (known !== undefined) return known
      const part = new PersonsPart(wait, looks)
      parts.set(principalId, part)
      return part
    },
  }
}

/** Looks at all readers now and then while the loop is busy, and at those that read much as often as it turns. */
interface Looks {
  join(reader: Reader): () => void
  /** Behind what comes next. */
  soon(reader: Reader): void
}

function createLooks(): Looks {
  const all = new Set<Reader>()
  let due = new Set<Reader>()
  let timer: NodeJS.Timeout | undefined
  let busy = performance.eventLoopUtilization()
  const soon = (reader: Reader) => {
    if (due.size === 0) setImmediate(lookAtDue)
    due.add(reader)
  }
  const look = (reader: Reader) => {
    if (reader.look()) soon(reader)
  }
  const lookAtAll = () => {
    const since = busy
    busy = performance.eventLoopUtilization()
    if (performance.eventLoopUtilization(busy, since).utilization >= busyShare) all.forEach(look)
  }
  const lookAtDue = () => {
    const now = due
    due = new Set()
    for (const reader of now) if (all.has(reader)) look(reader)
  }
  return {
    join(reader) {
      all.add(reader)
      timer ??= setInterval(lookAtAll, lookEveryMs).unref()
      return () => {
        all.delete(reader)
        if (all.size > 0) return
        clearInterval(timer)
        timer = undefined
      }
    },
    soon,
  }
}

class PersonsPart implements Part {
  readonly #wait: (one: PersonsPart) => void
  readonly #looks: Looks
  readonly #steps: Step[] = []
  readonly #readers = new Set<Reader>()
  /** In the order in which they are released. */
  readonly #held = new Set<Reader>()
  #freeAt = 0

  constructor(wait: (one: PersonsPart) => void, looks: Looks) {
    this.#wait = wait
    this.#looks = looks
  }

  hasPaid(now: number): boolean {
    return this.#freeAt <= now
  }

  isFree(now: number): boolean {
    return this.hasPaid(now) && this.#steps.length === 0
  }

  took(ms: number, now: number): void {
    this.#freeAt = Math.max(this.#freeAt, now - slackMs) + ms / mostShare
  }

  later(step: Step): void {
    if (this.#steps.push(step) === 1) this.#wait(this)
  }

  /** Does one step; whether anything is left. */
  serve(): boolean {
    const [step] = this.#steps
    const isLeft = step?.() === true
    // Not before: what it has done later must not make the person wait twice.
    this.#steps.shift()
    if (isLeft && step !== undefined) this.#steps.push(step)
    return this.#steps.length > 0
  }

  join(reader: Reader): () => void {
    this.#readers.add(reader)
    const leave = this.#looks.join(reader)
    return () => {
      leave()
      this.#readers.delete(reader)
      this.#held.delete(reader)
    }
  }

  hold(reader: Reader): void {
    if (this.#held.size === 0) {
      this.later(this.#release)
      for (const other of this.#readers) this.#holdOne(other)
    } else this.#holdOne(reader)
  }

  #holdOne(reader: Reader): void {
    this.#held.add(reader)
    reader.hold()
  }

  /** One after the other, each with a turn of its own: nobody knows before what they have to say. */
  readonly #release = (): boolean => {
    const [reader] = this.#held
    if (reader === undefined) return false
    this.#held.delete(reader)
    reader.release()
    this.#looks.soon(reader)
    if (this.#held.size > 0) setImmediate(() => this.later(this.#release))
    return false
  }
}

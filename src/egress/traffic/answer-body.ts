import type { Pausable } from '../bounds/search-share.ts'
import { putWaitingCrumbsTogether } from '../bounds/waiting-crumbs.ts'
import type { InboundAnswer } from '../inbound/inbound.ts'

/** What was let through so far. */
export interface Passed {
  bytes: number
  redactions: number
}

/**
 * The body of an answer on its way to a client that may take its time: what brings it is paused for as long as that
 * does not read, or anything else holds it. Its first part waits for the end of the turn in which the answer began, so
 * that a short answer leaves in one piece with its head.
 */
export class AnswerBody implements Pausable {
  readonly #to: InboundAnswer
  readonly #source: Pausable
  readonly #passed: Passed
  readonly #goesOn: () => void
  #holds = 0
  #first: Buffer | undefined
  #isFirstTurn = true

  /** `goesOn` is told whenever nothing holds it any more. */
  constructor(options: { to: InboundAnswer; source: Pausable; passed: Passed; goesOn: () => void }) {
    this.#to = options.to
    this.#source = options.source
    this.#passed = options.passed
    this.#goesOn = options.goesOn
  }

  get isHeld(): boolean {
    return this.#holds > 0
  }

  get isFirstTurn(): boolean {
    return this.#isFirstTurn
  }

  /** What waits for the end of the first turn; who ends the answer before that says it with its end. */
  get first(): Buffer | undefined {
    return this.#first
  }

  /** Each of these goes on only with a `resume` of its own. */
  pause(): void {
    this.#holds += 1
    if (this.#holds === 1) this.#source.pause()
  }

  resume(): void {
    this.#holds -= 1
    if (this.#holds > 0) return
    this.#source.resume()
    this.#goesOn()
  }

  write(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#passed.bytes += bytes.length
    if (this.#isFirstTurn && this.#first === undefined) this.#first = bytes
    else {
      this.endTurn()
      this.#send(bytes)
    }
  }

  /** What is written before it is cut off; `done` is called once it has left, or cannot. */
  writeLast(bytes: Buffer, done: () => void): void {
    this.endTurn()
    this.#passed.bytes += bytes.length
    this.#to.sink.write(bytes, done)
  }

  endTurn(): void {
    if (!this.#isFirstTurn) return
    this.#isFirstTurn = false
    if (this.#to.gone()) return
    // A stream's head goes out before its first event.
    if (this.#first === undefined) this.#to.flush()
    else this.#send(this.#first)
    this.#first = undefined
  }

  #send(bytes: Buffer): void {
    const { sink } = this.#to
    // Most answers are one piece, for which nothing need be made.
    if (sink.writableLength > 0) putWaitingCrumbsTogether(sink)
    if (sink.write(bytes)) return
    this.pause()
    sink.once('drain', () => this.resume())
  }
}

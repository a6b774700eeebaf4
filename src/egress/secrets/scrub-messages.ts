import type { Frame, FrameSink } from '../request/websocket-frames.ts'
import { EvenScrubber } from './even-scrubber.ts'
import type { ScrubForms } from './scrub.ts'

/** More that stands behind a held piece than any server has a reason to send before the piece goes on. */
const maxBehind = 64 * 1024

/**
 * Masks credentials in the messages of a WebSocket as they pass, each message searched whole across its frames. A
 * mask is as long as what it hides, so every frame keeps its head; the last of a message that is not whole waits for its
 * next frame, whatever it is, and what follows waits behind it. Throws when too much does.
 */
export class MessageScrubber implements FrameSink {
  readonly #emit: (bytes: Buffer) => void
  readonly #messages: EvenScrubber
  readonly #controls: EvenScrubber
  /** In the order of the wire: how many searched bytes are to come, or bytes that wait for those before them. */
  readonly #queue: (number | Buffer)[] = []
  #behind = 0

  constructor(forms: ScrubForms, emit: (bytes: Buffer) => void) {
    this.#emit = emit
    this.#messages = new EvenScrubber(forms)
    this.#controls = new EvenScrubber(forms)
  }

  /** Occurrences masked so far. */
  get hits(): number {
    return this.#messages.hits + this.#controls.hits
  }

  head(_frame: Frame, bytes: Buffer): void {
    this.#inTurn(bytes)
  }

  payload(frame: Frame, bytes: Buffer): void {
    if (frame.control) return this.#inTurn(this.#controls.push(bytes))
    this.#queue.push(bytes.length)
    this.#searched(this.#messages.push(bytes))
  }

  end(frame: Frame): void {
    if (frame.control) this.#inTurn(this.#controls.end())
    else if (frame.fin) this.#searched(this.#messages.end())
  }

  #inTurn(bytes: Buffer): void {
    if (bytes.length === 0) return
    if (this.#queue.length === 0) return this.#emit(bytes)
    this.#behind += bytes.length
    if (this.#behind > maxBehind) throw new Error('too much waits behind a message that is not whole')
    this.#queue.push(bytes)
  }

  #searched(bytes: Buffer): void {
    let rest = bytes
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (typeof next !== 'number') {
        this.#behind -= next.length
        this.#emit(next)
      } else if (rest.length < next) {
        this.#queue[0] = next - rest.length
        if (rest.length > 0) this.#emit(rest)
        return
      } else {
        if (next > 0) this.#emit(rest.subarray(0, next))
        rest = rest.subarray(next)
      }
      this.#queue.shift()
    }
  }
}

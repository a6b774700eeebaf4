import { type Frame, type FrameSink, frameHead, opcodes } from '../request/websocket-frames.ts'
import { EvenScrubber } from './even-scrubber.ts'
import { Scrubber, type ScrubForms } from './scrub.ts'

/**
 * Masks credentials in the messages of a WebSocket as they pass, each message searched whole across its frames. What may
 * go of a message goes in a frame of its own, wherever its server cut it (RFC 6455 section 5.4: who stands between may
 * do so where no extension was agreed on): so every frame that was begun is whole, whatever of its message still waits,
 * and a ping, a pong or a close waits for none of it.
 */
export class MessageScrubber implements FrameSink {
  readonly #emit: (frame: Buffer) => void
  readonly #messages: EvenScrubber
  readonly #controls: Scrubber
  /** Of the control frame that is coming. */
  #control: Buffer[] = []
  /** The kind of the message's next frame: its own, of the first one. */
  #next: number = opcodes.continuation

  /** `emit` takes whole frames. */
  constructor(forms: ScrubForms, emit: (frame: Buffer) => void) {
    this.#emit = emit
    this.#messages = new EvenScrubber(forms)
    this.#controls = new Scrubber(forms)
  }

  /** Occurrences masked so far. */
  get hits(): number {
    return this.#messages.hits + this.#controls.hits
  }

  /** How many bytes of a message wait. */
  get waiting(): number {
    return this.#messages.waiting
  }

  /** What waits from here on has come later. */
  mark(): void {
    this.#messages.mark()
  }

  /** Whether something has come since. */
  get isMoving(): boolean {
    return this.#messages.isMoving
  }

  /** Lets go of what had come by the mark, but for what may begin a credential and tells of it. */
  letMarkedGo(): void {
    this.#goOn(this.#messages.takeMarked(), false)
  }

  /** The same of all that has come, before the end of everything. */
  sayLast(): void {
    this.mark()
    this.letMarkedGo()
  }

  head(frame: Frame): void {
    if (!frame.control && frame.opcode !== opcodes.continuation) this.#next = frame.opcode
  }

  payload(frame: Frame, bytes: Buffer, at: number): void {
    if (frame.control) return void this.#control.push(bytes)
    this.#goOn(this.#messages.push(bytes), frame.fin && at + bytes.length === frame.length)
  }

  end(frame: Frame): void {
    if (frame.control) this.#sayWhole(frame)
    else if (frame.fin && frame.length === 0) this.#goOn(Buffer.alloc(0), true)
  }

  /** What may go of a message, together with the rest of it where it ends. */
  #goOn(bytes: Buffer, ends: boolean): void {
    const parts = ends ? [bytes, this.#messages.end()] : [bytes]
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    if (length === 0 && !ends) return
    this.#emit(Buffer.concat([frameHead(this.#next, ends, length), ...parts]))
    this.#next = opcodes.continuation
  }

  #sayWhole({ opcode, length }: Frame): void {
    // No message may follow a close.
    if (opcode === opcodes.close) this.sayLast()
    const said = this.#controls.text(Buffer.concat(this.#control).toString('latin1'))
    this.#control = []
    this.#emit(Buffer.concat([frameHead(opcode, true, length), Buffer.from(said, 'latin1')]))
  }
}

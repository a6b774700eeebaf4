import binary from 'undici/lib/llhttp/llhttp_simd-wasm.js'
import { msPerField, msPerPiece, worked } from '../bounds/work.ts'
import { trimmedValue } from '../request/fields.ts'

/** What a parser tells of the answers on one connection. A throw ends the reading, as an error of the parser does. */
export interface AnswerListener {
  /** The first byte of an answer has come, whatever may follow it. */
  begun(): void
  /**
   * `isOld`: by HTTP/1.0. `keepAlive`: the connection is good for another answer after this one. Says what follows the
   * head.
   */
  head(head: { status: number; rawHeaders: string[]; isOld: boolean; keepAlive: boolean }): Follows
  /** A part of the body, framing taken off; a view of the piece that was given. */
  body(part: Buffer): void
  complete(trailers: string[]): void
}

/** What comes behind a head: a body as the head frames it, the next answer, or something that is not HTTP. */
export type Follows = 'body' | 'answer' | 'protocol'

const typeResponse = 2
const pausedForProtocol = 22
const empty = Buffer.alloc(0)
const verdicts: Record<Follows, number> = { body: 0, answer: 1, protocol: 2 }
/** More of a piece is given to llhttp in parts. */
const roomBytes = 64 * 1024

/** Which rule of HTTP was broken. It never holds the bytes that broke it: they may be an echoed credential. */
class AnswerError extends Error {
  override readonly name = 'AnswerError'
  readonly code: string

  constructor(code: string) {
    super('not an answer of HTTP/1.1')
    this.code = code
  }
}

/** What undici's build of llhttp exports, as far as it is used here. */
interface Llhttp {
  memory: { buffer: ArrayBuffer }
  _initialize(): void
  malloc(bytes: number): number
  llhttp_alloc(type: number): number
  llhttp_free(parser: number): void
  llhttp_execute(parser: number, at: number, length: number): number
  llhttp_finish(parser: number): number
  llhttp_get_error_pos(parser: number): number
  llhttp_get_http_minor(parser: number): number
  llhttp_errno_name(code: number): number
}

/** llhttp calls back while it executes, and it executes for one parser at a time. */
let current: AnswerParser | undefined

function load(): Llhttp {
  const running = () => {
    if (current === undefined) throw new Error('llhttp called back while it did nothing')
    return current
  }
  const told =
    (tell: (parser: AnswerParser, at: number, length: number) => void) =>
    (_: number, at = 0, length = 0) => {
      tell(running(), at, length)
      return 0
    }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary), {
    env: {
      wasm_on_url: () => 0,
      wasm_on_message_begin: told((parser) => parser.onBegun()),
      wasm_on_status: told((parser, _at, length) => parser.onReason(length)),
      wasm_on_header_field: told((parser, at, length) => parser.onName(at, length)),
      wasm_on_header_value: told((parser, at, length) => parser.onValue(at, length)),
      wasm_on_headers_complete: (_: number, status: number, _upgrade: number, keepAlive: number) =>
        running().onHead(status, keepAlive === 1),
      wasm_on_body: told((parser, at, length) => parser.onBody(at, length)),
      wasm_on_message_complete: told((parser) => parser.onComplete()),
    },
  })
  const loaded = exports as unknown as Llhttp
  loaded._initialize()
  return loaded
}

const llhttp = load()
/** Where it reads from. */
const room = llhttp.malloc(roomBytes)

/** Has llhttp work for this parser; whether it stopped before another protocol. */
function run(parser: AnswerParser, step: () => number): boolean {
  if (current !== undefined) throw new Error('an answer was read while another was')
  current = parser
  let code: number
  try {
    code = step()
  } finally {
    current = undefined
  }
  if (code === 0 || code === pausedForProtocol) return code !== 0
  const name = Buffer.from(llhttp.memory.buffer, llhttp.llhttp_errno_name(code), 64)
  throw new AnswerError(name.toString('latin1', 0, name.indexOf(0)))
}

/**
 * Reads the answers of one HTTP/1.1 connection with llhttp, which is Node's own parser, with none of its leniency
 * switched on. After a throw nothing more may be read.
 */
export class AnswerParser {
  readonly #listener: AnswerListener
  readonly #maxHeadBytes: number
  readonly #pointer = llhttp.llhttp_alloc(typeResponse)
  #part: Buffer = empty
  /** Names and values alternating: of a head, later of the trailers. */
  #fields: string[] = []
  #headBytes = 0
  #isTold = false
  /** Read since anything was told. */
  #silentBytes = 0

  constructor(listener: AnswerListener, maxHeadBytes: number) {
    this.#listener = listener
    this.#maxHeadBytes = maxHeadBytes
  }

  /** Undefined, or what came behind the head of a `protocol`. Throws when it is no answer. */
  read(piece: Buffer): Buffer | undefined {
    for (let at = 0; at < piece.length; at += roomBytes) {
      const part = piece.length <= roomBytes ? piece : piece.subarray(at, at + roomBytes)
      new Uint8Array(llhttp.memory.buffer, room, part.length).set(part)
      this.#part = part
      this.#isTold = false
      const execute = () => llhttp.llhttp_execute(this.#pointer, room, part.length)
      if (run(this, execute)) return piece.subarray(at + llhttp.llhttp_get_error_pos(this.#pointer) - room)
      // Space before a value or an answer, and what a chunk says beside its size, is told to nobody, and may never end.
      this.#silentBytes = this.#isTold ? 0 : this.#silentBytes + part.length
      if (this.#silentBytes > this.#maxHeadBytes) throw new AnswerError('HPE_HEADER_OVERFLOW')
    }
    this.#part = empty
    return undefined
  }

  /** The other side has ended. Throws when that is in the middle of an answer. */
  finish(): void {
    run(this, () => llhttp.llhttp_finish(this.#pointer))
  }

  /** Gives its memory back; nothing may be read any more. */
  free(): void {
    llhttp.llhttp_free(this.#pointer)
  }

  onBegun(): void {
    this.#isTold = true
    this.#listener.begun()
  }

  onReason(length: number): void {
    this.#count(length)
  }

  onName(at: number, length: number): void {
    const text = this.#text(at, length)
    // An odd one out is the name whose beginning was in the last piece.
    const begun = this.#fields.length % 2 === 1 ? this.#fields.pop() : undefined
    this.#fields.push((begun ?? '') + text)
  }

  onValue(at: number, length: number): void {
    const text = this.#text(at, length)
    const begun = this.#fields.length % 2 === 0 ? this.#fields.pop() : undefined
    this.#fields.push((begun ?? '') + text)
  }

  onHead(status: number, keepAlive: boolean): number {
    const rawHeaders = this.#takeFields()
    const isOld = llhttp.llhttp_get_http_minor(this.#pointer) === 0
    return verdicts[this.#listener.head({ status, rawHeaders, isOld, keepAlive })]
  }

  onBody(at: number, length: number): void {
    const from = at - room
    worked(msPerPiece)
    this.#isTold = true
    this.#listener.body(this.#part.subarray(from, from + length))
  }

  onComplete(): void {
    this.#headBytes = 0
    this.#isTold = true
    this.#listener.complete(this.#takeFields())
  }

  #takeFields(): string[] {
    const fields = this.#fields
    this.#fields = []
    worked((fields.length / 2) * msPerField)
    for (let i = 1; i < fields.length; i += 2) {
      // llhttp leaves the white space behind a value to whoever reads it.
      fields[i] = trimmedValue(fields[i] ?? '')
    }
    return fields
  }

  #count(length: number): void {
    this.#headBytes += length
    this.#isTold = true
    if (this.#headBytes > this.#maxHeadBytes) throw new AnswerError('HPE_HEADER_OVERFLOW')
  }

  #text(at: number, length: number): string {
    this.#count(length)
    const from = at - room
    return this.#part.toString('latin1', from, from + length)
  }
}

/** The head of one frame of a WebSocket (RFC 6455 section 5.2), whose fields have been held against the rules. */
export interface Frame {
  opcode: number
  /** Close, ping or pong; may stand between the frames of a message. */
  control: boolean
  /** The last of its message. */
  fin: boolean
  /** Of the payload, in bytes. */
  length: number
  /** What a client's payload is combined with, byte by byte. */
  mask: Buffer | undefined
}

/** What is told of frames, in the order of the wire. Bytes are as they stood there. */
export interface FrameSink {
  head(frame: Frame): void
  /** A piece of the payload that begins at its byte `at`. */
  payload(frame: Frame, bytes: Buffer, at: number): void
  end(frame: Frame): void
}

/** What must not stand in a WebSocket to which nobody agreed on extensions. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

/** What a frame may be. */
export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
const known: ReadonlySet<number> = new Set(Object.values(opcodes))
const longestHead = 14

/**
 * Reads the frames of one side, however they are cut, and holds nothing of their payload. Throws `FrameError` where
 * two readers could come to differ about where a frame ends or what it is.
 */
export class FrameReader {
  readonly #masked: boolean
  readonly #sink: FrameSink
  readonly #head = Buffer.alloc(longestHead)
  #headBytes = 0
  #frame: Frame | undefined
  #read = 0
  #inMessage = false
  /** Frames whose head was read. */
  frames = 0
  /** A close frame was read; no message may follow. */
  closed = false

  constructor(from: 'client' | 'server', sink: FrameSink) {
    this.#masked = from === 'client'
    this.#sink = sink
  }

  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      at += this.#frame === undefined ? this.#takeHead(chunk, at) : this.#takePayload(this.#frame, chunk, at)
    }
  }

  #takeHead(chunk: Buffer, from: number): number {
    let at = from
    while (at < chunk.length && this.#headBytes < headLength(this.#head, this.#headBytes)) {
      this.#head[this.#headBytes] = chunk[at] ?? 0
      this.#headBytes += 1
      at += 1
    }
    if (this.#headBytes === headLength(this.#head, this.#headBytes)) this.#begin()
    return at - from
  }

  #begin(): void {
    const bytes = Buffer.from(this.#head.subarray(0, this.#headBytes))
    this.#headBytes = 0
    const frame = this.#judge(bytes)
    this.frames += 1
    this.#sink.head(frame)
    if (frame.length === 0) return this.#sink.end(frame)
    this.#frame = frame
    this.#read = 0
  }

  #judge(bytes: Buffer): Frame {
    const [first = 0, second = 0] = bytes
    const opcode = first & 0x0f
    const fin = (first & 0x80) !== 0
    const masked = (second & 0x80) !== 0
    const length = payloadLength(bytes)
    const control = opcode >= opcodes.close
    // RFC 6455 section 5.5.2: who has said that it closes, and not heard it yet, still answers pings.
    if (this.closed && !control) throw new FrameError('a message after the close')
    if ((first & 0x70) !== 0 || !known.has(opcode))
      throw new FrameError('an extension that was not agreed on')
    if (masked !== this.#masked) throw new FrameError('a mask on the wrong side')
    if (control && (!fin || length > 125)) throw new FrameError('a control frame too long or in pieces')
    if (!control && (opcode === opcodes.continuation) !== this.#inMessage)
      throw new FrameError('a message within a message, or the end of none')
    if (!control) this.#inMessage = !fin
    if (opcode === opcodes.close) this.closed = true
    return { opcode, control, fin, length, mask: masked ? bytes.subarray(-4) : undefined }
  }

  #takePayload(frame: Frame, chunk: Buffer, from: number): number {
    const piece = chunk.subarray(from, from + frame.length - this.#read)
    this.#sink.payload(frame, piece, this.#read)
    this.#read += piece.length
    if (this.#read === frame.length) {
      this.#frame = undefined
      this.#sink.end(frame)
    }
    return piece.length
  }
}

/** How long the head is, as far as the `have` bytes of it tell. */
function headLength(head: Buffer, have: number): number {
  if (have < 2) return 2
  const second = head[1] ?? 0
  const length = second & 0x7f
  return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + ((second & 0x80) === 0 ? 0 : 4)
}

function payloadLength(head: Buffer): number {
  const short = (head[1] ?? 0) & 0x7f
  if (short < 126) return short
  const length = short === 126 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2))
  if (length < (short === 126 ? 126 : 65_536) || length > Number.MAX_SAFE_INTEGER)
    throw new FrameError('a length not in its one form')
  return length
}

/** The head of a server's frame. */
export function frameHead(opcode: number, fin: boolean, length: number): Buffer {
  const first = (fin ? 0x80 : 0) | opcode
  if (length < 126) return Buffer.from([first, length])
  const head = Buffer.alloc(length < 65_536 ? 4 : 10)
  head[0] = first
  if (length < 65_536) {
    head[1] = 126
    head.writeUInt16BE(length, 2)
  } else {
    head[1] = 127
    head.writeBigUInt64BE(BigInt(length), 2)
  }
  return head
}

/** The payload as it was meant; `at` is where in it the bytes begin. */
export function unmasked(bytes: Buffer, mask: Buffer, at: number): Buffer {
  const plain = Buffer.alloc(bytes.length)
  for (let i = 0; i < bytes.length; i += 1) plain[i] = (bytes[i] ?? 0) ^ (mask[(at + i) & 3] ?? 0)
  return plain
}

import { headerValues } from '../request/head.ts'

/** A byte of flags and four of length stand before each message. */
const headBytes = 5

/** Whether a body is messages one behind the other, as gRPC, gRPC-Web and the streams of Connect have them. */
export function isEnveloped(rawHeaders: readonly string[]): boolean {
  const [type = ''] = headerValues(rawHeaders, 'content-type')
  return /^application\/(?:grpc|grpc-web|connect)(?:\+[a-z0-9.-]+)?\s*(?:;|$)/i.test(type)
}

/** Finds the messages in such a body as it comes in pieces. */
export class Envelopes {
  readonly #head = Buffer.alloc(headBytes)
  #headHere = 0
  /** Bytes of this message that are still to come. */
  #missing = 0

  /** A piece, cut behind each message that `ends` in it. */
  split(piece: Buffer): { part: Buffer; ends: boolean }[] {
    const parts: { part: Buffer; ends: boolean }[] = []
    let from = 0
    let at = 0
    while (at < piece.length) {
      if (this.#headHere < headBytes) {
        const taken = piece.copy(this.#head, this.#headHere, at)
        this.#headHere += taken
        at += taken
        if (this.#headHere < headBytes) break
        this.#missing = this.#head.readUInt32BE(1)
      }
      const taken = Math.min(this.#missing, piece.length - at)
      this.#missing -= taken
      at += taken
      if (this.#missing > 0) break
      parts.push({ part: piece.subarray(from, at), ends: true })
      from = at
      this.#headHere = 0
    }
    if (from < piece.length) parts.push({ part: piece.subarray(from), ends: false })
    return parts
  }
}

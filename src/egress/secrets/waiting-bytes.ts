import { inOwnMemory } from '../economy/own-memory.ts'
import { mask } from './mask.ts'

const nothing = Buffer.alloc(0)

/** Smaller pieces are put together, so that there are never many. */
const smallPiece = 2 * 1024

/** With more of a piece gone than this what is left of it is copied. */
const mostKept = 7 / 8

/** A piece of a stream: as it came, and as it leaves. */
interface Piece {
  readonly at: number
  readonly seen: Buffer
  out: Buffer
}

/** The last bytes of a stream, as they came and as they leave. Large pieces are copied only where they are masked. */
export class WaitingBytes {
  #pieces: Piece[] = []
  /** How many there were so far, and how many of them have left. */
  end = 0
  left = 0

  add(bytes: Buffer): void {
    if (bytes.length === 0) return
    const last = this.#pieces.at(-1)
    if (last !== undefined && last.seen.length + bytes.length <= smallPiece)
      this.#pieces[this.#pieces.length - 1] = longer(last, bytes)
    else this.#pieces.push({ at: this.end, seen: bytes, out: bytes })
    this.end += bytes.length
  }

  /** What is remembered, as it came, from `from` on. */
  *from(from: number): Generator<{ at: number; bytes: Buffer }> {
    for (const { at, seen } of this.#pieces) {
      const skipped = Math.max(0, from - at)
      if (skipped < seen.length) yield { at: at + skipped, bytes: seen.subarray(skipped) }
    }
  }

  mask(from: number, to: number): void {
    for (const piece of this.#pieces) {
      const { at, seen } = piece
      if (at >= to || at + seen.length <= from) continue
      if (piece.out === seen) piece.out = Buffer.from(seen)
      mask(piece.out, Math.max(0, from - at), Math.min(seen.length, to - at))
    }
  }

  /** Those up to `upTo` that have not left yet, which leave now; in one piece, for cuts may tell something. */
  take(upTo: number): Buffer {
    if (upTo <= this.left) return nothing
    const taken: Buffer[] = []
    for (const { at, out } of this.#pieces)
      if (at < upTo && at + out.length > this.left)
        taken.push(out.subarray(Math.max(0, this.left - at), upTo - at))
    this.left = upTo
    const [first = nothing, ...more] = taken
    return more.length === 0 ? first : Buffer.concat(taken)
  }

  /** What stands before `from` and has left is remembered no longer. */
  forget(from: number): void {
    const least = Math.min(from, this.left)
    let gone = 0
    for (const { at, seen } of this.#pieces) {
      if (at + seen.length > least) break
      gone += 1
    }
    if (gone > 0) this.#pieces = this.#pieces.slice(gone)
    const [first] = this.#pieces
    if (first !== undefined) this.#pieces[0] = withoutHead(first, least - first.at)
  }
}

/** A stream that rests for the sake of a few bytes does not keep all that they came with. */
function withoutHead(piece: Piece, length: number): Piece {
  const { at, seen, out } = piece
  if (seen.length < smallPiece || length < seen.length * mostKept) return piece
  const rest = inOwnMemory(seen.subarray(length))
  return { at: at + length, seen: rest, out: out === seen ? rest : inOwnMemory(out.subarray(length)) }
}

function longer({ at, seen, out }: Piece, bytes: Buffer): Piece {
  const all = inOwnMemory(Buffer.concat([seen, bytes]))
  return { at, seen: all, out: out === seen ? all : inOwnMemory(Buffer.concat([out, bytes])) }
}

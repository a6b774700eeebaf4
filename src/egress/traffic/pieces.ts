import { CrumbBlocks } from '../bounds/crumb-blocks.ts'
import { inOwnMemory } from '../economy/own-memory.ts'

/** Of what is smaller, each for itself would take hundreds of bytes of memory, which nobody counts. */
const smallBytes = 2 * 1024
/** What is less of the memory that it was cut from would keep too much of it. */
const leastPart = 1 / 4

/** A body that is kept as it comes, in memory of the order of its bytes, however it was cut. */
export class Pieces {
  #pieces: Buffer[] = []
  #blocks: CrumbBlocks | undefined
  /** How many have come. */
  bytes = 0

  push(piece: Buffer): void {
    this.bytes += piece.length
    // Most bodies are one piece, and are not copied.
    if (this.#pieces.length === 0) this.#pieces.push(piece)
    else if (piece.length < smallBytes) {
      this.#blocks ??= new CrumbBlocks()
      this.#blocks.add(this.#pieces, piece)
    } else {
      const isPart = piece.length < leastPart * piece.buffer.byteLength
      this.#pieces.push(isPart ? inOwnMemory(piece) : piece)
    }
  }

  /** All of it, and nothing beside that is kept: nothing can be pushed any more. */
  joined(): Buffer {
    const [first] = this.#pieces
    const whole = first !== undefined && this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces)
    this.#pieces = [whole]
    this.#blocks = undefined
    return whole
  }
}

import { inOwnMemory } from '../economy/own-memory.ts'

/** Of what is smaller, each for itself would take hundreds of bytes of memory, which nobody counts. */
const smallBytes = 2 * 1024
const blockBytes = 8 * 1024
/** What is less of the memory that it was cut from would keep too much of it. */
const leastPart = 1 / 4

/** A body that is kept as it comes, in memory of the order of its bytes, however it was cut. */
export class Pieces {
  #pieces: Buffer[] = []
  /** What small pieces are put together in. */
  #block: Buffer | undefined
  /** Of the block: where the last piece begins, and how much is used. */
  #from = 0
  #used = 0
  /** How many have come. */
  bytes = 0

  push(piece: Buffer): void {
    this.bytes += piece.length
    // Most bodies are one piece, and are not copied.
    if (this.#pieces.length === 0) this.#pieces.push(piece)
    else if (piece.length < smallBytes) this.#pushSmall(piece)
    else {
      const isPart = piece.length < leastPart * piece.buffer.byteLength
      this.#pieces.push(isPart ? inOwnMemory(piece) : piece)
      this.#from = this.#used
    }
  }

  #pushSmall(piece: Buffer): void {
    if (this.#block === undefined || this.#used + piece.length > blockBytes) {
      this.#block = Buffer.allocUnsafeSlow(blockBytes)
      this.#from = 0
      this.#used = 0
    }
    if (this.#from < this.#used) this.#pieces.pop()
    this.#used += piece.copy(this.#block, this.#used)
    this.#pieces.push(this.#block.subarray(this.#from, this.#used))
  }

  /** All of it, and nothing beside that is kept: nothing can be pushed any more. */
  joined(): Buffer {
    const [first] = this.#pieces
    const whole = first !== undefined && this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces)
    this.#pieces = [whole]
    this.#block = undefined
    return whole
  }
}

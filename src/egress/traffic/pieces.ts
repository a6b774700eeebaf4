/** Of what is smaller, each for itself would take hundreds of bytes of memory and more, which nobody counts. */
const smallBytes = 2 * 1024
const blockBytes = 8 * 1024

/**
 * A body that is kept as it comes, in about as much memory as it has bytes. Small pieces are put together in blocks of
 * their own: Node cuts what is small from blocks of 64 KiB, each of which stays for as long as anything that is cut of it.
 */
export class Pieces {
  readonly #pieces: Buffer[] = []
  #block: Buffer | undefined
  /** Of the block: where the last piece begins, and how much is used. */
  #from = 0
  #used = 0
  /** How many have come. */
  bytes = 0

  push(piece: Buffer): void {
    this.bytes += piece.length
    // Most bodies are one piece, and are not copied.
    if (this.#pieces.length === 0 || piece.length >= smallBytes) {
      this.#pieces.push(piece)
      this.#from = this.#used
      return
    }
    if (this.#block === undefined || this.#used + piece.length > blockBytes) {
      this.#block = Buffer.allocUnsafeSlow(blockBytes)
      this.#from = 0
      this.#used = 0
    }
    if (this.#from < this.#used) this.#pieces.pop()
    this.#used += piece.copy(this.#block, this.#used)
    this.#pieces.push(this.#block.subarray(this.#from, this.#used))
  }

  joined(): Buffer {
    return Buffer.concat(this.#pieces)
  }
}

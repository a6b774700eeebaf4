const blockBytes = 8 * 1024

/** Puts small pieces together as they are added to a list, each of which would take some 300 bytes of memory by itself. */
export class CrumbBlocks {
  #block: Buffer | undefined
  #used = 0

  /** Adds what is no longer than a block: behind the last of the list, where that is what was added last. */
  add(to: Buffer[], crumb: Buffer): void {
    if (this.#block === undefined || this.#used + crumb.length > blockBytes) {
      // Not cut from the blocks that Node cuts small buffers from, each of which would stay for as long.
      this.#block = Buffer.allocUnsafeSlow(blockBytes)
      this.#used = 0
    }
    const block = this.#block
    const from = this.#used
    this.#used += crumb.copy(block, from)
    const last = to.at(-1)
    const goesOn = last?.buffer === block.buffer && last.byteOffset + last.length === from
    if (goesOn) to[to.length - 1] = block.subarray(last.byteOffset, this.#used)
    else to.push(block.subarray(from, this.#used))
  }
}

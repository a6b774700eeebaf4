/** Keeps the last `maxBytes` of what is fed to it, so that a flood costs no memory. */
export interface Tail {
  add(chunk: Buffer): void
  text(): string
}

export function createTail(maxBytes: number): Tail {
  let chunks: Buffer[] = []
  let bytes = 0
  return {
    add(chunk) {
      chunks.push(chunk)
      bytes += chunk.length
      // Joined now and then rather than at each chunk: a flood of small ones stays linear.
      if (bytes > 4 * maxBytes || chunks.length > 1_024) join()
    },
    text() {
      join()
      return chunks[0]?.toString('utf8') ?? ''
    },
  }

  function join(): void {
    const all = Buffer.concat(chunks)
    // A copy, so that the large buffer behind a small slice can be freed.
    const kept = Buffer.from(all.subarray(Math.max(0, all.length - maxBytes)))
    chunks = [kept]
    bytes = kept.length
  }
}

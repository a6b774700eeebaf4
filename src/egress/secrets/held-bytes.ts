const nothing = Buffer.alloc(0)
const mask = 0x2a // '*'

/** Bytes that wait, as they came and as they will leave. However small the pieces, each byte is moved a few times. */
export class HeldBytes {
  #seen = nothing
  #out = nothing
  #from = 0
  #to = 0

  get length(): number {
    return this.#to - this.#from
  }

  /** As they came; good until the next change. */
  get seen(): Buffer {
    return this.#seen.subarray(this.#from, this.#to)
  }

  /** As they will leave; good until the next change. */
  get out(): Buffer {
    return this.#out.subarray(this.#from, this.#to)
  }

  /** Puts `seen`, which will leave as `out`, in place of what waits. */
  replace(seen: Buffer, out: Buffer): void {
    this.#seen = this.#out = nothing
    this.#from = this.#to = 0
    if (seen.length > 0) this.append(seen, out)
  }

  /** Puts `seen`, which will leave as `out`, behind what waits. */
  append(seen: Buffer, out: Buffer): void {
    this.#makeRoom(seen.length)
    this.#to += seen.copy(this.#seen, this.#to)
    out.copy(this.#out, this.#to - seen.length)
  }

  mask(from: number, to: number): void {
    this.#out.fill(mask, this.#from + from, this.#from + to)
  }

  /** The first `count` bytes, which wait no more. */
  release(count: number): Buffer {
    const released = Buffer.from(this.#out.subarray(this.#from, this.#from + count))
    this.#from += count
    if (this.#from === this.#to) this.replace(nothing, nothing)
    return released
  }

  #makeRoom(more: number): void {
    if (this.#to + more <= this.#seen.length) return
    const { length } = this
    const size = 2 * (length + more)
    const [seen, out] = [Buffer.allocUnsafe(size), Buffer.allocUnsafe(size)]
    this.#seen.copy(seen, 0, this.#from, this.#to)
    this.#out.copy(out, 0, this.#from, this.#to)
    this.#seen = seen
    this.#out = out
    this.#from = 0
    this.#to = length
  }
}

/** Bytes that are looked at together: of three in a row few texts have one by chance that a form has. */
const widest = 3

/**
 * Finds all of many byte strings in one pass that looks at few of the bytes (Wu and Manber, "A fast algorithm for
 * multi-pattern searching", 1994): a block of bytes that no form has near its beginning lets the search skip as far as
 * the shortest form is long. No form may be empty.
 */
export class FormSearch {
  readonly #shortest: number
  readonly #block: number
  /** For each block's number how far the search may go on when it sees one; 0: some form's beginning may end here. */
  readonly #shift: Uint16Array
  /** Forms whose beginning, as long as the shortest form, ends with a block of that number. */
  readonly #endingWith = new Map<number, Buffer[]>()

  constructor(forms: readonly Buffer[]) {
    const shortest = Math.min(...forms.map(({ length }) => length))
    this.#shortest = shortest
    this.#block = Math.min(widest, shortest)
    this.#shift = new Uint16Array(65_536).fill(Math.min(65_535, shortest - this.#block + 1))
    for (const form of forms) {
      for (let end = this.#block; end <= shortest; end += 1) {
        const number = numberBefore(form, end, this.#block)
        this.#shift[number] = Math.min(this.#shift[number] ?? 0, shortest - end)
      }
      const last = numberBefore(form, shortest, this.#block)
      this.#endingWith.set(last, [...(this.#endingWith.get(last) ?? []), form])
    }
  }

  /** Tells of every occurrence, overlapping ones too, in the order in which their beginnings end. */
  each(bytes: Buffer, found: (at: number, length: number) => void): void {
    const shortest = this.#shortest
    const block = this.#block
    const shift = this.#shift
    let end = shortest
    while (end <= bytes.length) {
      const number = numberBefore(bytes, end, block)
      const skip = shift[number] ?? 0
      if (skip > 0) {
        end += skip
        continue
      }
      const at = end - shortest
      for (const form of this.#endingWith.get(number) ?? []) {
        if (form[0] !== bytes[at] || at + form.length > bytes.length) continue
        if (bytes.compare(form, 0, form.length, at, at + form.length) === 0) found(at, form.length)
      }
      end += 1
    }
  }
}

/** A number of 16 bits for the block that ends before `end`; different blocks may have the same. */
function numberBefore(bytes: Buffer, end: number, block: number): number {
  const last = bytes[end - 1] ?? 0
  if (block === 1) return last
  const pair = last | ((bytes[end - 2] ?? 0) << 8)
  return block === 2 ? pair : pair ^ ((bytes[end - 3] ?? 0) << 5)
}

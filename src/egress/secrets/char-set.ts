/** Stands for all that is no ASCII. */
const wide = 128
const nothing = 129

/** What a soft break of a line says, among characters: nothing. */
export const softBreak = -1
/** Two characters for which HTML has one name; the only such two in ASCII. */
export const fj = 0x110000

/** A set of characters, exact for ASCII; of the others it knows only whether it has some. */
export class CharSet {
  readonly #words = new Uint32Array(5)

  add(char: number): void {
    const bit = bitOf(char)
    this.#words[bit >>> 5] = (this.#words[bit >>> 5] ?? 0) | (1 << (bit & 31))
  }

  addAll(other: CharSet): void {
    for (let at = 0; at < 5; at += 1) this.#words[at] = (this.#words[at] ?? 0) | (other.#words[at] ?? 0)
  }

  has(char: number): boolean {
    const bit = bitOf(char)
    return (((this.#words[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) !== 0
  }

  /** Whether some character is in both. */
  meets(other: CharSet): boolean {
    for (let at = 0; at < 5; at += 1)
      if (((this.#words[at] ?? 0) & (other.#words[at] ?? 0)) !== 0) return true
    return false
  }
}

function bitOf(char: number): number {
  if (char === softBreak) return nothing
  if (char === fj) return 0x66
  return char < wide ? char : wide
}

/** Where a JSON text holds the value that a pointer names, or would take it; offsets into the text. */
export type JsonPlace =
  | { kind: 'value'; start: number; end: number; text: string | undefined }
  /** The object is there and has no such member; `empty` says that no comma is needed. */
  | { kind: 'room'; at: number; empty: boolean }

const maxDepth = 100
/** A megabyte has room for ten times as many, and nobody else is served until they are read. */
const mostValues = 50_000

/** Why there are no places: it is no JSON that all readers take for the same, or it has too many values. */
export type Unfound = 'not_strict' | 'too_many_values'

/**
 * Reads a JSON text of at most 50,000 values strictly (RFC 8259) and finds the places that `pointers` name, one for
 * each: undefined where there is neither a value nor an object to take it. `not_strict` is also an object with the same
 * key twice, and a key on the way of a pointer that some reader takes for its token, as those without regard to case do:
 * two readers could take another member for the one that is meant.
 */
export function findInJson(
  text: string,
  pointers: readonly (readonly string[])[],
): (JsonPlace | undefined)[] | Unfound {
  try {
    return new Scanner(text, pointers).read()
  } catch (error) {
    if (error instanceof Stopped) return error.why
    throw error
  }
}

/**
 * What some reader makes of a key: those that do not regard case, to Go's of which "ſ" is an "s" and the Kelvin sign a
 * "k", and to Java's "İ" an "i"; those of C, to which a text ends at a NUL; UltraJSON before 5.4, which leaves out half
 * a pair of surrogates (CVE-2022-31116).
 */
function folded(key: string): string {
  if (/^[ -~]*$/.test(key)) return key.toLowerCase()
  const [start = ''] = key.split('\0', 1)
  const paired = start.replace(/\p{Surrogate}/gu, '')
  return paired.toUpperCase().toLowerCase().replaceAll('i\u0307', 'i')
}

class Stopped extends Error {
  readonly why: Unfound

  constructor(why: Unfound = 'not_strict') {
    super(why)
    this.why = why
  }
}

/** Pointers by their number whose first tokens lead to where the scanner is. */
type Leading = readonly number[]
const none: Leading = []

/** Nothing is made for a value that no pointer leads to. */
class Scanner {
  readonly #text: string
  readonly #pointers: readonly (readonly string[])[]
  readonly #places: (JsonPlace | undefined)[]
  #depth = 0
  #at = 0
  #values = 0

  constructor(text: string, pointers: readonly (readonly string[])[]) {
    this.#text = text
    this.#pointers = pointers
    this.#places = pointers.map(() => undefined)
  }

  read(): (JsonPlace | undefined)[] {
    this.#value([...this.#pointers.keys()])
    this.#space()
    if (this.#at !== this.#text.length) throw new Stopped()
    return this.#places
  }

  #value(leading: Leading): void {
    this.#values += 1
    if (this.#values > mostValues) throw new Stopped('too_many_values')
    this.#space()
    const start = this.#at
    const first = this.#text.charCodeAt(start)
    if (first === code.object) this.#object(leading)
    else if (first === code.array) this.#array(leading)
    else if (first === code.quote) this.#pastString()
    else this.#pastScalar()
    for (const i of leading) {
      if (this.#pointers[i]?.length === this.#depth) {
        const text = first === code.quote ? this.#read(start) : undefined
        this.#places[i] = { kind: 'value', start, end: this.#at, text }
      }
    }
  }

  #object(leading: Leading): void {
    this.#enter()
    const inside = this.#at
    const wanted = this.#tokens(leading)
    let first: string | undefined
    let keys: Set<string> | undefined
    this.#space()
    if (this.#text.charCodeAt(this.#at) === code.objectEnd) this.#at += 1
    else {
      do {
        this.#space()
        const start = this.#at
        this.#pastString()
        const key = this.#read(start)
        if (first === undefined) first = key
        else {
          keys ??= new Set([first])
          if (keys.has(key)) throw new Stopped()
          keys.add(key)
        }
        if (wanted.length > 0) {
          const fold = folded(key)
          if (wanted.some(({ token, fold: own }) => key !== token && fold === own)) throw new Stopped()
        }
        this.#space()
        this.#expect(code.colon)
        this.#value(this.#onward(leading, key))
      } while (this.#more(code.objectEnd))
    }
    this.#depth -= 1
    for (const { i, last } of wanted) {
      if (last) this.#places[i] ??= { kind: 'room', at: inside, empty: first === undefined }
    }
  }

  #array(leading: Leading): void {
    this.#enter()
    this.#space()
    if (this.#text.charCodeAt(this.#at) === code.arrayEnd) this.#at += 1
    else {
      let i = 0
      do {
        this.#value(leading.length === 0 ? none : this.#onward(leading, String(i)))
        i += 1
      } while (this.#more(code.arrayEnd))
    }
    this.#depth -= 1
  }

  #enter(): void {
    if (this.#depth >= maxDepth) throw new Stopped()
    this.#depth += 1
    this.#at += 1
  }

  /** Those of the pointers that lead on by this token of where the scanner is. */
  #onward(leading: Leading, token: string): Leading {
    if (leading.length === 0) return none
    const onward = leading.filter((i) => this.#pointers[i]?.[this.#depth - 1] === token)
    return onward.length === 0 ? none : onward
  }

  /** What the pointers look for among the members of the object that the scanner has entered; `last`: their value. */
  #tokens(leading: Leading): { i: number; token: string; fold: string; last: boolean }[] {
    if (leading.length === 0) return []
    return leading.flatMap((i) => {
      const pointer = this.#pointers[i] ?? []
      const token = pointer[this.#depth - 1]
      if (token === undefined) return []
      return [{ i, token, fold: folded(token), last: pointer.length === this.#depth }]
    })
  }

  /** Past a comma, or past the end. */
  #more(end: number): boolean {
    this.#space()
    const more = this.#text.charCodeAt(this.#at) === code.comma
    this.#expect(more ? code.comma : end)
    return more
  }

  #pastString(): void {
    this.#expect(code.quote)
    for (;;) {
      const next = this.#text.charCodeAt(this.#at)
      this.#at += 1
      if (next === code.quote) return
      if (next === code.backslash) this.#pastEscape()
      // Controls are escaped in JSON; NaN is the end of the text.
      else if (!(next >= 0x20)) throw new Stopped()
    }
  }

  /** What the string says that began at `start` and has just ended. */
  #read(start: number): string {
    const raw = this.#text.slice(start, this.#at)
    return raw.includes('\\') ? (JSON.parse(raw) as string) : raw.slice(1, -1)
  }

  #pastScalar(): void {
    scalar.lastIndex = this.#at
    if (!scalar.test(this.#text)) throw new Stopped()
    this.#at = scalar.lastIndex
  }

  /** There may be half a million of them. */
  #pastEscape(): void {
    const of = this.#text.charCodeAt(this.#at)
    const digits = of === code.hex ? 4 : 0
    if (digits === 0 && !escapable.has(of)) throw new Stopped()
    for (let i = 1; i <= digits; i += 1) if (!isHex(this.#text.charCodeAt(this.#at + i))) throw new Stopped()
    this.#at += 1 + digits
  }

  #space(): void {
    for (;;) {
      const next = this.#text.charCodeAt(this.#at)
      if (next !== 0x20 && next !== 0x09 && next !== 0x0a && next !== 0x0d) return
      this.#at += 1
    }
  }

  #expect(char: number): void {
    if (this.#text.charCodeAt(this.#at) !== char) throw new Stopped()
    this.#at += 1
  }
}

const code = {
  quote: 0x22,
  comma: 0x2c,
  colon: 0x3a,
  array: 0x5b,
  backslash: 0x5c,
  arrayEnd: 0x5d,
  hex: 0x75,
  object: 0x7b,
  objectEnd: 0x7d,
} as const
const scalar = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const escapable = new Set(Array.from('"\\/bfnrt', (char) => char.charCodeAt(0)))
const isHex = (char: number) =>
  (char >= 0x30 && char <= 0x39) || ((char | 0x20) >= 0x61 && (char | 0x20) <= 0x66)

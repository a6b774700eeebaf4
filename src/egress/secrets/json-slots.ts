/** Where a JSON text holds the value that a pointer names, or would take it; offsets into the text. */
export type JsonPlace =
  | { kind: 'value'; start: number; end: number; text: string | undefined }
  /** The object is there and has no such member; `empty` says that no comma is needed. */
  | { kind: 'room'; at: number; empty: boolean }

export interface JsonSlots {
  /** One for each pointer; undefined where there is neither a value nor an object to take it. */
  places: (JsonPlace | undefined)[]
  /** Every string in it, keys too, with its escapes read. */
  strings: string[]
}

const maxDepth = 100

/**
 * Reads a JSON text strictly (RFC 8259) and finds the places that `pointers` name. Undefined for what is no JSON,
 * for an object with the same key twice, and for a key that differs from a pointer's last token in letter case
 * only: two readers could take another member for the one that is meant.
 */
export function findInJson(text: string, pointers: readonly (readonly string[])[]): JsonSlots | undefined {
  try {
    return new Scanner(text, pointers).read()
  } catch (error) {
    if (error instanceof NotStrict) return undefined
    throw error
  }
}

class NotStrict extends Error {}

class Scanner {
  readonly #text: string
  readonly #pointers: readonly (readonly string[])[]
  readonly #places: (JsonPlace | undefined)[]
  readonly #strings: string[] = []
  /** The reference tokens that lead to where the scanner is. */
  readonly #path: string[] = []
  #at = 0

  constructor(text: string, pointers: readonly (readonly string[])[]) {
    this.#text = text
    this.#pointers = pointers
    this.#places = pointers.map(() => undefined)
  }

  read(): JsonSlots {
    this.#value()
    this.#space()
    if (this.#at !== this.#text.length) throw new NotStrict()
    return { places: this.#places, strings: this.#strings }
  }

  #value(): void {
    this.#space()
    const start = this.#at
    let string: string | undefined
    const first = this.#text[start]
    if (first === '{') this.#object()
    else if (first === '[') this.#array()
    else if (first === '"') string = this.#string()
    else this.#token(/(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y)
    for (const [i, pointer] of this.#pointers.entries()) {
      if (pointer.length === this.#path.length && this.#leadsHere(pointer)) {
        this.#places[i] = { kind: 'value', start, end: this.#at, text: string }
      }
    }
  }

  #object(): void {
    this.#enter()
    const inside = this.#at
    const wanted = [...this.#pointers.entries()].filter(
      ([, pointer]) => pointer.length === this.#path.length + 1 && this.#leadsHere(pointer),
    )
    const keys = new Set<string>()
    this.#space()
    if (this.#text[this.#at] === '}') this.#at += 1
    else {
      for (;;) {
        this.#space()
        const key = this.#string()
        if (keys.has(key)) throw new NotStrict()
        keys.add(key)
        for (const [, pointer] of wanted) {
          const last = pointer.at(-1) ?? ''
          if (key !== last && key.toLowerCase() === last.toLowerCase()) throw new NotStrict()
        }
        this.#space()
        this.#expect(':')
        this.#path.push(key)
        this.#value()
        this.#path.pop()
        if (!this.#more('}')) break
      }
    }
    for (const [i] of wanted) this.#places[i] ??= { kind: 'room', at: inside, empty: keys.size === 0 }
  }

  #array(): void {
    this.#enter()
    this.#space()
    if (this.#text[this.#at] === ']') {
      this.#at += 1
      return
    }
    for (let i = 0; ; i += 1) {
      this.#path.push(String(i))
      this.#value()
      this.#path.pop()
      if (!this.#more(']')) return
    }
  }

  #enter(): void {
    if (this.#path.length >= maxDepth) throw new NotStrict()
    this.#at += 1
  }

  /** Past a comma, or past the end. */
  #more(end: string): boolean {
    this.#space()
    const more = this.#text[this.#at] === ','
    this.#expect(more ? ',' : end)
    return more
  }

  #string(): string {
    const start = this.#at
    this.#expect('"')
    for (;;) {
      const code = this.#text.charCodeAt(this.#at)
      this.#at += 1
      if (code === 0x22) break
      if (code === 0x5c) this.#token(/["\\/bfnrt]|u[0-9a-fA-F]{4}/y)
      // Controls are escaped in JSON; NaN is the end of the text.
      else if (!(code >= 0x20)) throw new NotStrict()
    }
    const raw = this.#text.slice(start, this.#at)
    const value = raw.includes('\\') ? (JSON.parse(raw) as string) : raw.slice(1, -1)
    this.#strings.push(value)
    return value
  }

  #token(pattern: RegExp): void {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match === null) throw new NotStrict()
    this.#at += match[0].length
  }

  #space(): void {
    while (' \t\n\r'.includes(this.#text[this.#at] ?? 'x')) this.#at += 1
  }

  #expect(char: string): void {
    if (this.#text[this.#at] !== char) throw new NotStrict()
    this.#at += 1
  }

  /** Whether the first tokens of `pointer` are those of the path; each as long as the path or longer. */
  #leadsHere(pointer: readonly string[]): boolean {
    return this.#path.every((token, i) => token === pointer[i])
  }
}

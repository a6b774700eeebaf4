import type { Store } from '../../../src/store/index.ts'

/** What is fuzzed: the same for the same seed; throws `Finding`. */
export type Fuzz = (options: FuzzOptions) => Promise<FuzzTally>

export interface FuzzOptions {
  seed: number
  /** Tries until then (of `performance.now()`), or so many times. */
  deadline: number
  most: number
  /** An empty database, for what needs one; the caller's to close. */
  openStore: () => Promise<Store>
}

/** How much was tried, so that a run that tried nothing is not taken for a clean one. */
export interface FuzzTally {
  tried: number
  /** How many were let through and so had something to be checked. */
  accepted: number
}

/** Something that must not be: with the input, as text that can be pasted into a test. */
export class Finding extends Error {
  constructor(what: string, input: unknown, seed: number, cause?: unknown) {
    super(`${what} (seed ${seed}): ${JSON.stringify(input)}`, { cause })
  }
}

/** Chance that can be had again. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number below `limit` (mulberry32). */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * limit)
  }

  once(inHow: number): boolean {
    return this.below(inHow) === 0
  }

  of<T>(choices: readonly T[]): T {
    const chosen = choices[this.below(choices.length)]
    if (chosen === undefined) throw new Error('nothing to choose from')
    return chosen
  }

  /** `text` with up to `most` characters put in, taken out, doubled or changed; bytes of 0 to 255. */
  mutate(text: string, most: number): string {
    let changed = text
    for (let left = this.below(most + 1); left > 0; left -= 1) {
      const at = this.below(changed.length + 1)
      const piece = this.once(2) ? this.of(telling) : String.fromCharCode(this.below(256))
      const skipped = this.of([0, 0, 1, 1, 3])
      changed =
        changed.slice(0, at) +
        (this.once(6) ? changed.slice(at, at + 4) : piece) +
        changed.slice(at + skipped)
    }
    return changed
  }
}

/** Pieces that mean something to some parser. */
const telling = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '	',
  ':',
  ';',
  ',',
  '/',
  '//',
  '\\',
  '.',
  '..',
  '%2e',
  '%2F',
  '%00',
  '%',
  '#',
  '?',
  '@',
  '*',
  '[',
  ']',
  '::',
  '::1',
  '127.0.0.1',
  '0x7f',
  'xn--',
  '443',
  '80',
  'Host: ',
  'chunked',
  '\r\n\r\n',
  '0\r\n\r\n',
  'Content-Length: 1\r\n',
  'Transfer-Encoding: chunked\r\n',
  'HTTP/1.1',
  'CONNECT ',
  'GET ',
  'http://',
  'https://',
]

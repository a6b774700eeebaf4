import { secretForms } from './secret-forms.ts'

const mask = 0x2a // '*'

/** Spellings made ready to be searched for; made once for a set of secrets, shared by every answer. */
export type ScrubForms = readonly Form[]

/** Every spelling of these secrets, made ready. */
export function compileSecrets(secrets: readonly string[]): ScrubForms {
  return secretForms(secrets).map((bytes) => ({ bytes, failure: failureTable(bytes) }))
}

/**
 * Masks every spelling of some secrets in bytes that come in pieces. A mask is as long as what it hides, so that
 * lengths and framing stay true; only bytes that could be the beginning of a secret are held back, so that a
 * line of a stream is let through as soon as it is here.
 */
export class Scrubber {
  readonly #forms: ScrubForms
  /** The tail that may begin a secret: as it came, and as it will leave. */
  #held: Buffer = Buffer.alloc(0)
  #heldOut: Buffer = Buffer.alloc(0)
  /** Occurrences masked so far. */
  hits = 0

  constructor(forms: ScrubForms) {
    this.#forms = forms
  }

  /** What can be let go after this piece. */
  push(chunk: Buffer): Buffer {
    const seen = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const out = this.#heldOut.length === 0 ? chunk : Buffer.concat([this.#heldOut, chunk])
    const masked = this.#maskInto(seen, out, chunk === out)
    const hold = this.#partialAtEnd(seen)
    const cut = seen.length - hold
    this.#held = Buffer.from(seen.subarray(cut))
    this.#heldOut = Buffer.from(masked.subarray(cut))
    return masked.subarray(0, cut)
  }

  /** The rest, once the stream has ended well; after an error it is never asked for, and never let go. */
  end(): Buffer {
    const rest = this.#heldOut
    this.#held = this.#heldOut = Buffer.alloc(0)
    return rest
  }

  /** A whole text, such as a header's value, masked at once. */
  text(value: string): string {
    const seen = Buffer.from(value, 'latin1')
    return this.#maskInto(seen, seen, true).toString('latin1')
  }

  /** Searches `seen`, masks in `out`; `shared` says that `out` must be copied before it is written to. */
  #maskInto(seen: Buffer, out: Buffer, shared: boolean): Buffer {
    let target = out
    let mine = !shared
    for (const { bytes } of this.#forms) {
      let at = seen.indexOf(bytes)
      while (at !== -1) {
        if (!mine) {
          target = Buffer.from(out)
          mine = true
        }
        target.fill(mask, at, at + bytes.length)
        this.hits += 1
        // Step by one: an occurrence may overlap the next of its kind.
        at = seen.indexOf(bytes, at + 1)
      }
    }
    return target
  }

  /** The length of the longest ending of `seen` with which some form begins. */
  #partialAtEnd(seen: Buffer): number {
    let longest = 0
    for (const { bytes, failure } of this.#forms) {
      const start = Math.max(0, seen.length - bytes.length + 1)
      if (seen.length - start <= longest) continue
      let matched = 0
      for (let i = start; i < seen.length; i += 1) {
        const byte = seen[i]
        while (matched > 0 && bytes[matched] !== byte) matched = failure[matched - 1] ?? 0
        if (bytes[matched] === byte) matched += 1
      }
      longest = Math.max(longest, matched)
    }
    return longest
  }
}

interface Form {
  bytes: Buffer
  failure: Int32Array
}

/** For each position the length of the longest proper border: Knuth, Morris and Pratt's table. */
function failureTable(bytes: Buffer): Int32Array {
  const table = new Int32Array(bytes.length)
  let matched = 0
  for (let i = 1; i < bytes.length; i += 1) {
    while (matched > 0 && bytes[matched] !== bytes[i]) matched = table[matched - 1] ?? 0
    if (bytes[matched] === bytes[i]) matched += 1
    table[i] = matched
  }
  return table
}

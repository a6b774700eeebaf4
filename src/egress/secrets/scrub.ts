import { secretForms } from './secret-forms.ts'

const mask = 0x2a // '*'

/** Spellings made ready to be searched for; made once for a set of secrets, shared by every answer. */
export interface ScrubForms {
  readonly all: readonly Buffer[]
  /** Those that begin with each byte. */
  readonly byFirst: readonly (readonly Buffer[])[]
  readonly shortest: number
  readonly longest: number
}

/** Every spelling of these secrets, made ready. */
export function compileSecrets(secrets: readonly string[]): ScrubForms {
  const all = secretForms(secrets)
  const lengths = all.map(({ length }) => length)
  return {
    all,
    byFirst: Array.from({ length: 256 }, (_, byte) => all.filter((form) => form[0] === byte)),
    shortest: Math.min(...lengths),
    longest: Math.max(...lengths),
  }
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
    const masked = this.#maskInto(seen, out, chunk === out, this.#held.length)
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
    if (value.length < this.#forms.shortest) return value
    const seen = Buffer.from(value, 'latin1')
    return this.#maskInto(seen, seen, true, 0).toString('latin1')
  }

  /**
   * Searches `seen`, masks in `out`; `shared` says that `out` must be copied before it is written to. What ends
   * within the first `counted` bytes was found before.
   */
  #maskInto(seen: Buffer, out: Buffer, shared: boolean, counted: number): Buffer {
    let target = out
    let mine = !shared
    for (const bytes of this.#forms.all) {
      let at = seen.indexOf(bytes)
      while (at !== -1) {
        if (!mine) {
          target = Buffer.from(out)
          mine = true
        }
        target.fill(mask, at, at + bytes.length)
        if (at + bytes.length > counted) this.hits += 1
        // Step by one: an occurrence may overlap the next of its kind.
        at = seen.indexOf(bytes, at + 1)
      }
    }
    return target
  }

  /** The length of the longest ending of `seen` with which some form begins. */
  #partialAtEnd(seen: Buffer): number {
    const { byFirst, longest } = this.#forms
    for (let at = Math.max(0, seen.length - longest + 1); at < seen.length; at += 1) {
      const left = seen.length - at
      for (const form of byFirst[seen[at] ?? 0] ?? []) {
        if (left < form.length && seen.compare(form, 0, left, at) === 0) return left
      }
    }
    return 0
  }
}

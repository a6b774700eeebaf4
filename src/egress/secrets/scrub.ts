import { pairsOf } from '../request/fields.ts'
import { FormSearch } from './form-search.ts'
import { secretForms } from './secret-forms.ts'

const mask = 0x2a // '*'
const nothing = Buffer.alloc(0)

/** Spellings made ready to be searched for; made once for a set of secrets, shared by every answer. */
export interface ScrubForms {
  readonly search: FormSearch
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
    search: new FormSearch(all),
    byFirst: Array.from({ length: 256 }, (_, byte) => all.filter((form) => form[0] === byte)),
    shortest: Math.min(...lengths),
    longest: Math.max(...lengths),
  }
}

/** A table of blocks of bytes, and what stands around each form. */
const bytesBesideForms = 160 * 1024

/** About how much memory these take. */
export function bytesOf({ byFirst }: ScrubForms): number {
  return byFirst.flat().reduce((bytes, form) => bytes + form.length, bytesBesideForms)
}

/**
 * Masks every spelling of some secrets in bytes that come in pieces. A mask is as long as what it hides, so that
 * lengths and framing stay true; only bytes that could be the beginning of a secret are held back, so that a
 * line of a stream is let through as soon as it is here.
 */
export class Scrubber {
  readonly #forms: ScrubForms
  /** The tail that may begin a secret: as it came, and as it will leave. */
  #held: Buffer = nothing
  #heldOut: Buffer = nothing
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
    this.#held = hold === 0 ? nothing : Buffer.from(seen.subarray(cut))
    this.#heldOut = hold === 0 ? nothing : Buffer.from(masked.subarray(cut))
    return masked.subarray(0, cut)
  }

  /** How many bytes wait because they may begin a secret. */
  get waiting(): number {
    return this.#held.length
  }

  /** The rest, once the stream has ended well; after an error it is never asked for, and never let go. */
  end(): Buffer {
    const rest = this.#heldOut
    this.#held = this.#heldOut = nothing
    return rest
  }

  /** A whole text, such as a header's value, masked at once. */
  text(value: string): string {
    if (value.length < this.#forms.shortest) return value
    const seen = Buffer.from(value, 'latin1')
    return this.#maskInto(seen, seen, true, 0).toString('latin1')
  }

  /** Whole fields, names and values alternating: values masked, and left out with a name that would have to be. */
  fields(flat: readonly string[]): string[] {
    // Nearly always there is nothing in any of them.
    let isClean = true
    this.#forms.search.each(Buffer.from(flat.join('\n'), 'latin1'), () => {
      isClean = false
    })
    if (isClean) return [...flat]
    return pairsOf(flat)
      .filter(([name]) => this.text(name) === name)
      .flatMap(([name, value]) => [name, this.text(value)])
  }

  /**
   * Searches `seen`, masks in `out`; `shared` says that `out` must be copied before it is written to. What ends
   * within the first `counted` bytes was found before.
   */
  #maskInto(seen: Buffer, out: Buffer, shared: boolean, counted: number): Buffer {
    let target = out
    let mine = !shared
    this.#forms.search.each(seen, (at, length) => {
      if (!mine) {
        target = Buffer.from(out)
        mine = true
      }
      target.fill(mask, at, at + length)
      if (at + length > counted) this.hits += 1
    })
    return target
  }

  /** The length of the longest ending of `seen` with which some form begins. */
  #partialAtEnd(seen: Buffer): number {
    const { byFirst, longest } = this.#forms
    for (let at = Math.max(0, seen.length - longest + 1); at < seen.length; at += 1) {
      const left = seen.length - at
      for (const form of byFirst[seen[at] ?? 0] ?? []) {
        if (left >= form.length) continue
        let same = 1
        while (same < left && form[same] === seen[at + same]) same += 1
        if (same === left) return left
      }
    }
    return 0
  }
}

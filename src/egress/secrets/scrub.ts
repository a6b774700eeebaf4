import { pairsOf } from '../request/fields.ts'
import { FormSearch } from './form-search.ts'
import type { FormWalk } from './form-walk.ts'
import { HeldBytes } from './held-bytes.ts'
import { secretForms } from './secret-forms.ts'

const mask = 0x2a // '*'
const nothing = Buffer.alloc(0)
/** However long a secret is: more of its beginning no text has by chance. */
const mostUntelling = 7

/** Secrets made ready to be searched for; made once for a set of them, shared by every answer. */
export interface ScrubForms {
  /** Another one as soon as something else is searched for. */
  readonly search: FormSearch
}

/** These secrets in every spelling, made ready. */
export function compileSecrets(secrets: readonly string[]): ScrubForms {
  const chars = new Set(secrets.flatMap((secret) => Array.from(secret, (char) => char.codePointAt(0) ?? 0)))
  return { search: new FormSearch(secretForms(secrets), chars) }
}

/** About how much memory these take. */
export function bytesOf({ search }: ScrubForms): number {
  return search.bytes
}

/**
 * Masks every spelling of some secrets in bytes that come in pieces. A mask is as long as what it hides, so that
 * lengths and framing stay true; only bytes that could be the beginning of a secret are held back, so that a
 * line of a stream is let through as soon as it is here. Throws when a text repeats a secret that repeats itself.
 */
export class Scrubber {
  readonly #forms: ScrubForms
  #search: FormSearch
  #walk: FormWalk
  /** The tail that may begin a secret. */
  readonly #held = new HeldBytes()
  /** So much of it was let go already. */
  #gone = 0
  /** Occurrences masked so far. */
  hits = 0

  constructor(forms: ScrubForms) {
    this.#forms = forms
    this.#search = forms.search
    this.#walk = forms.search.begin()
  }

  /** What can be let go after this piece. */
  push(chunk: Buffer): Buffer {
    this.#renew()
    const held = this.#held
    const before = held.length
    // A long wait in small pieces is not copied for each of them.
    const isJoined = before > chunk.length
    let out = before === 0 || isJoined ? chunk : Buffer.concat([held.out, chunk])
    if (isJoined) held.append(chunk, chunk)
    this.#walk.push(chunk, before, (from, to) => {
      this.hits += 1
      if (isJoined) return held.mask(from, to)
      if (out === chunk) out = Buffer.from(chunk)
      out.fill(mask, from, to)
    })
    const cut = this.#walk.earliest ?? before + chunk.length
    this.#walk.shift(cut)
    if (isJoined) return this.#without(held.release(cut))
    const seen = cut < before ? Buffer.concat([held.seen.subarray(cut), chunk]) : chunk.subarray(cut - before)
    held.replace(seen, out.subarray(cut))
    return this.#without(out.subarray(0, cut))
  }

  /** The first bytes that wait no more, less those that were let go before. */
  #without(released: Buffer): Buffer {
    const gone = Math.min(this.#gone, released.length)
    this.#gone -= gone
    return released.subarray(gone)
  }

  /** What waits is looked at again when something else is searched for; what stands in it was counted. */
  #renew(): void {
    const { search } = this.#forms
    if (search === this.#search) return
    this.#search = search
    this.#walk = search.begin()
    this.#walk.push(this.#held.seen, 0, (from, to) => this.#held.mask(from, to))
  }

  /** Whether what waits is more of a secret's beginning than may be known: a quarter of it, seven bytes at most. */
  get isTelling(): boolean {
    return this.#held.length > Math.min(mostUntelling, Math.floor(this.#search.shortest / 4))
  }

  /**
   * What waits, where it tells nothing, but for the `later` bytes that came last; for a stream that has paused, whose
   * other end may wait for it. If it is the beginning of a secret after all, the rest of that is masked.
   */
  releaseUntelling(later = 0): Buffer {
    const upTo = this.#held.length - later
    if (upTo <= this.#gone || this.isTelling) return nothing
    const released = Buffer.from(this.#held.out.subarray(this.#gone, upTo))
    this.#gone = upTo
    return released
  }

  /** How many bytes wait because they may begin a secret. */
  get waiting(): number {
    return this.#held.length - this.#gone
  }

  /** The rest, once the stream has ended well; after an error it is never asked for, and never let go. */
  end(): Buffer {
    this.#walk = this.#search.begin()
    return this.#without(this.#held.release(this.#held.length))
  }

  /** A whole text, such as a header's value, masked at once. */
  text(value: string): string {
    const { search } = this.#forms
    if (value.length < search.shortest) return value
    const seen = Buffer.from(value, 'latin1')
    const out = Buffer.from(seen)
    search.begin().push(seen, 0, (from, to) => {
      out.fill(mask, from, to)
      this.hits += 1
    })
    return out.toString('latin1')
  }

  /** Whole fields, names and values alternating: values masked, and left out with a name that would have to be. */
  fields(flat: readonly string[]): string[] {
    // Nearly always there is nothing in any of them.
    let isClean = true
    this.#forms.search.begin().push(Buffer.from(flat.join('\n'), 'latin1'), 0, () => {
      isClean = false
    })
    if (isClean) return [...flat]
    return pairsOf(flat)
      .filter(([name]) => this.text(name) === name)
      .flatMap(([name, value]) => [name, this.text(value)])
  }
}

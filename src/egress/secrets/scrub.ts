import { pairsOf } from '../request/fields.ts'
import { FormSearch } from './form-search.ts'
import { mask } from './mask.ts'
import { secretForms } from './secret-forms.ts'

/** Secrets made ready to be searched for; made once for a set of them, shared by every answer. */
export interface ScrubForms {
  /** Another one as soon as something else is searched for. */
  readonly search: FormSearch
}

/** These secrets in every spelling, made ready; none has a character beyond Latin-1. */
export function compileSecrets(secrets: readonly string[]): ScrubForms {
  return { search: new FormSearch(secretForms(secrets)) }
}

/** About how much memory these take. */
export function bytesOf({ search }: ScrubForms): number {
  return search.bytes
}

/** Masks every spelling of some secrets in whole texts. */
export class Scrubber {
  readonly #forms: ScrubForms
  /** Occurrences masked so far. */
  hits = 0

  constructor(forms: ScrubForms) {
    this.#forms = forms
  }

  /** A whole text, such as a header's value, masked at once. */
  text(value: string): string {
    const { search } = this.#forms
    const seen = Buffer.from(value, 'latin1')
    if (seen.length < search.shortest || !search.mayStandIn(seen)) return value
    const out = Buffer.from(seen)
    search.begin().push(seen, 0, (from, to) => {
      mask(out, from, to)
      this.hits += 1
    })
    return out.toString('latin1')
  }

  /** Whole fields, names and values alternating: values masked, and left out with a name that would have to be. */
  fields(flat: readonly string[]): string[] {
    // Nearly always there is nothing in any of them.
    if (!this.#forms.search.mayStandIn(Buffer.from(flat.join('\n'), 'latin1'))) return [...flat]
    return pairsOf(flat)
      .filter(([name]) => this.text(name) === name)
      .flatMap(([name, value]) => [name, this.text(value)])
  }
}

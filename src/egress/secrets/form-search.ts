import { FormFilter } from './form-filter.ts'
import { FormStates } from './form-states.ts'
import { type Form, FormTable } from './form-table.ts'
import { FormWalk } from './form-walk.ts'
import { writingsOf } from './writings.ts'

/** Forms made ready to be searched for, each of their characters in any of its writings. No form may be empty. */
export class FormSearch {
  readonly #table: FormTable
  readonly #filter: FormFilter
  readonly #states: FormStates

  /** `chars` are those beyond Latin-1 for which the forms have UTF-8. */
  constructor(forms: readonly Form[], chars: ReadonlySet<number> = new Set()) {
    this.#table = new FormTable(forms)
    const writings = writingsOf(chars)
    this.#filter = new FormFilter(forms, this.#table, writings)
    this.#states = new FormStates(this.#table, writings)
  }

  /** The length of the shortest form: nothing shorter is found. */
  get shortest(): number {
    return this.#table.shortest
  }

  /** About how much memory this takes. */
  get bytes(): number {
    return this.#table.bytes + this.#filter.bytes + this.#states.bytes
  }

  /** A search of bytes from their beginning. */
  begin(): FormWalk {
    return new FormWalk(this.#filter, this.#states)
  }
}

import { Fingerprints } from './fingerprints.ts'
import { FormStates } from './form-states.ts'
import { type Form, FormTable } from './form-table.ts'
import { FormWalk } from './form-walk.ts'
import { LetterWatch } from './letter-watch.ts'

const [lineFeed, carriageReturn] = [10, 13]
const mostIdle = 8

/** Forms made ready to be searched for, each of their characters in any of its writings. No form may be empty. */
export class FormSearch {
  readonly #table: FormTable
  readonly #states: FormStates
  /** By which it is known where to search. */
  readonly prints: Fingerprints
  /** Nobody's at the moment: to make one takes as long as to read half a kilobyte with it. */
  readonly #idle: LetterWatch[] = []
  /** Whether some form goes on behind the end of a line, other than one of base64. */
  readonly hasLineEnds: boolean

  constructor(forms: readonly Form[]) {
    this.#table = new FormTable(forms)
    this.#states = new FormStates(this.#table)
    this.prints = new Fingerprints(forms, this.#table.shortest)
    this.hasLineEnds = forms.some(({ bytes }) => bytes.includes(lineFeed) || bytes.includes(carriageReturn))
  }

  /** The length of the shortest form: nothing shorter is found. */
  get shortest(): number {
    return this.#table.shortest
  }

  /** Whether there is a form that has too few letters to be known by them, so that everything is to be searched. */
  get lacksLetters(): boolean {
    return this.prints.lacks
  }

  /** About how much memory this takes. */
  get bytes(): number {
    return this.#table.bytes + this.#states.bytes + this.prints.bytes
  }

  /** Whether a form may stand in these bytes; nearly always it does not. */
  mayStandIn(bytes: Buffer): boolean {
    if (this.lacksLetters) return true
    const watch = this.lend()
    const found = watch.read(bytes, 0)
    this.giveBack(watch)
    return found !== undefined
  }

  /** One that has read nothing; whoever is done with it may give it back. */
  lend(): LetterWatch {
    return this.#idle.pop() ?? new LetterWatch(this.prints)
  }

  giveBack(watch: LetterWatch): void {
    if (this.#idle.length === mostIdle) return
    watch.close(0)
    this.#idle.push(watch)
  }

  /** A search of bytes from their beginning. */
  begin(): FormWalk {
    return new FormWalk(this.#states)
  }
}

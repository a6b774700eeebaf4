import type { FormSearch } from './form-search.ts'
import { compileSecrets, type ScrubForms } from './scrub.ts'

/** Secrets by what names them: a sealed text, and the slot where the slot says how it is read. */
export type Found = ReadonlyMap<string, readonly string[]>

/** Of what was sent to a host before; more than any person has there at a time. */
const mostKept = 24

/**
 * What the answers of one host to one person are searched for. It grows with what is sent there: an answer that began
 * before, a stream or a WebSocket, is searched for the new as well from its next byte on, and still for the old.
 */
export class LiveForms implements ScrubForms {
  readonly #compile: (found: Found) => ScrubForms
  #found: Found = new Map()
  #forms: ScrubForms = nothing
  #answers = 0

  constructor(compile: (found: Found) => ScrubForms) {
    this.#compile = compile
  }

  get search(): FormSearch {
    return this.#forms.search
  }

  get byFirst(): ScrubForms['byFirst'] {
    return this.#forms.byFirst
  }

  get shortest(): number {
    return this.#forms.shortest
  }

  get longest(): number {
    return this.#forms.longest
  }

  /** To be called before any of `found` is sent. */
  add(found: Found): void {
    if ([...found.keys()].every((key) => this.#found.has(key))) return
    const before = [...this.#found].filter(([key]) => !found.has(key))
    const room = Math.max(0, mostKept - found.size)
    this.#found = new Map([...before.slice(Math.max(0, before.length - room)), ...found])
    this.#forms = this.#compile(this.#found)
  }

  /** An answer is being searched until what is returned is called, once. */
  use(): () => void {
    this.#answers += 1
    return () => void (this.#answers -= 1)
  }

  get inUse(): boolean {
    return this.#answers > 0
  }
}

const nothing = compileSecrets([])

/** What is searched for at one place, and what was asked for there last. */
export interface Search<Asked> {
  forms: LiveForms
  asked: Asked
}

export interface Searches<Asked> {
  /** The one of this place, a person and a host, for as long as anybody holds it. */
  of(place: string, asked: Asked): LiveForms
  /** Those by which some answer is being searched now. */
  inUse(): Search<Asked>[]
}

export function createSearches<Asked>(compile: (found: Found) => ScrubForms): Searches<Asked> {
  const known = new Map<string, { forms: WeakRef<LiveForms>; asked: Asked }>()
  const dropped = new FinalizationRegistry<string>((place) => {
    if (known.get(place)?.forms.deref() === undefined) known.delete(place)
  })
  return {
    of(place, asked) {
      const kept = known.get(place)
      const forms = kept?.forms.deref()
      if (kept !== undefined && forms !== undefined) {
        kept.asked = asked
        return forms
      }
      const made = new LiveForms(compile)
      known.set(place, { forms: new WeakRef(made), asked })
      dropped.register(made, place)
      return made
    },
    inUse: () =>
      [...known.values()].flatMap(({ forms: held, asked }) => {
        const forms = held.deref()
        return forms?.inUse === true ? [{ forms, asked }] : []
      }),
  }
}

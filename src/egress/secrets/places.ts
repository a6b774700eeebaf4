import { LiveForms, type Sought } from './live-forms.ts'
import type { ScrubForms } from './scrub.ts'

/** What was asked for at a place by the rules of one source. */
export interface Asked {
  rules: object
}

/** Sources of which nothing is under way at a place that are kept, because something may be about to. */
const mostIdle = 16

/** One place, a person and a host: what its answers are searched for, and whatever was asked for there. */
export class Place<A extends Asked> {
  readonly forms: LiveForms
  /** By rules, the oldest first: several sources may have some for one host. */
  readonly #asked = new Map<object, { asked: A; answers: number }>()

  constructor(compile: (sought: readonly Sought[]) => ScrubForms) {
    this.forms = new LiveForms(compile)
  }

  /** What is kept for its rules: what was asked for before, or else this. */
  ask(asked: A): A {
    const before = this.#asked.get(asked.rules)
    if (before !== undefined) return before.asked
    const idle = [...this.#asked].filter(([, { answers }]) => answers === 0)
    for (const [rules] of idle.slice(0, Math.max(0, idle.length - mostIdle + 1))) this.#asked.delete(rules)
    this.#asked.set(asked.rules, { asked, answers: 0 })
    return asked
  }

  /** An answer to it that began with `found` is being searched until what is returned is called, once. */
  use(asked: A, found: readonly Sought[]): () => void {
    const kept = this.#asked.get(asked.rules) ?? { asked, answers: 0 }
    this.#asked.set(asked.rules, kept)
    kept.answers += 1
    const release = this.forms.use(found)
    return () => {
      kept.answers -= 1
      release()
    }
  }

  /** Whatever was asked for here. */
  get asked(): A[] {
    return [...this.#asked.values()].map(({ asked }) => asked)
  }

  /** That of it to which answers are under way. */
  get underWay(): A[] {
    return [...this.#asked.values()].flatMap(({ asked, answers }) => (answers > 0 ? [asked] : []))
  }
}

export interface Places<A extends Asked> {
  /** The one of this name, for as long as anybody holds it. */
  at(name: string): Place<A>
  all(): Place<A>[]
}

export function createPlaces<A extends Asked>(compile: (sought: readonly Sought[]) => ScrubForms): Places<A> {
  const known = new Map<string, WeakRef<Place<A>>>()
  const dropped = new FinalizationRegistry<string>((name) => {
    if (known.get(name)?.deref() === undefined) known.delete(name)
  })
  return {
    at(name) {
      const kept = known.get(name)?.deref()
      if (kept !== undefined) return kept
      const made = new Place<A>(compile)
      known.set(name, new WeakRef(made))
      dropped.register(made, name)
      return made
    },
    all: () => [...known.values()].flatMap((held) => held.deref() ?? []),
  }
}

import type { FormSearch } from './form-search.ts'
import type { ScrubForms } from './scrub.ts'

/** One credential in one slot, and the texts by which it could come back. */
export interface Sought {
  /** What it is, whatever its value. */
  of: string
  /** Names the value. */
  key: string
  texts: readonly string[]
}

/** Versions of one credential that are searched for when no answer under way began with them. */
const mostVersions = 8
/** Of all texts together: more is not to be made ready while others wait. */
const mostTexts = 512
const mostCharacters = 512 * 1024

interface Kept extends Sought {
  /** Answers under way that began with it. */
  answers: number
}

/**
 * What the answers of one host to one person are searched for. It grows with what is sent there: an answer that began
 * before, a stream or a WebSocket, is searched for the new as well from its next byte on, and still for the old.
 * Nothing that an answer under way began with is forgotten, nor the newest version of anything while there is one.
 */
export class LiveForms implements ScrubForms {
  readonly #compile: (sought: readonly Sought[]) => ScrubForms
  /** By name, the oldest first. */
  #kept = new Map<string, Kept>()
  #sought: readonly Sought[] = []
  /** Made ready when an answer is first searched by them, and kept by nobody else for as long as one is under way. */
  #forms: ScrubForms | undefined
  #answers = 0
  #lacks = false

  constructor(compile: (sought: readonly Sought[]) => ScrubForms) {
    this.#compile = compile
  }

  get search(): FormSearch {
    return this.#made().search
  }

  /**
   * To be called before any of `found` is sent. False when there is no room for it beside what answers under way need:
   * then it must not be sent.
   */
  add(found: readonly Sought[]): boolean {
    const missing = found.filter((each) => !this.#kept.has(nameOf(each)))
    if (missing.length === 0) return !this.#lacks
    const kept = this.#withRoom(
      [...this.#kept.values(), ...missing.map((each) => ({ ...each, answers: 0 }))],
      new Set(found.map(nameOf)),
    )
    if (kept === undefined) return false
    this.#kept = new Map(kept.map((each) => [nameOf(each), each]))
    this.#sought = kept
    this.#forms = undefined
    return !this.#lacks
  }

  /**
   * The same of what is sent or may be whatever is said here: where there is no room, answers under way are cut off,
   * for a search from now on throws.
   */
  insist(found: readonly Sought[]): void {
    if (!this.add(found) && this.#answers > 0) this.#lacks = true
  }

  /** An answer that began with `found` is being searched until what is returned is called, once. */
  use(found: readonly Sought[]): () => void {
    this.#answers += 1
    this.insist(found)
    const held = found.flatMap((each) => this.#kept.get(nameOf(each)) ?? [])
    for (const each of held) each.answers += 1
    return () => {
      for (const each of held) each.answers -= 1
      this.#answers -= 1
      if (this.#answers > 0) return
      this.#lacks = false
      this.#forms = undefined
    }
  }

  get inUse(): boolean {
    return this.#answers > 0
  }

  #made(): ScrubForms {
    if (this.#lacks) throw new Error('there are more credentials than answers can be searched for')
    const forms = this.#forms ?? this.#compile(this.#sought)
    if (this.inUse) this.#forms = forms
    return forms
  }

  /** Without old versions of what nobody began with, and if that is not enough without any that can be missed. */
  #withRoom(all: readonly Kept[], found: ReadonlySet<string>): readonly Kept[] | undefined {
    const needed = (each: Kept) => each.answers > 0 || found.has(nameOf(each))
    const newer = new Map<string, number>()
    const recent = all
      .toReversed()
      .filter((each) => {
        const count = newer.get(each.of) ?? 0
        newer.set(each.of, count + 1)
        return count < mostVersions || needed(each)
      })
      .reverse()
    if (fits(recent)) return recent
    const newest = this.inUse ? new Map(recent.map((each) => [each.of, each])) : new Map<string, Kept>()
    const few = recent.filter((each) => needed(each) || newest.get(each.of) === each)
    return fits(few) ? few : undefined
  }
}

function nameOf({ of, key }: Sought): string {
  return `${of} ${key}`
}

function fits(sought: readonly Sought[]): boolean {
  const texts = new Set(sought.flatMap((each) => each.texts))
  const characters = [...texts].reduce((sum, text) => sum + text.length, 0)
  return texts.size <= mostTexts && characters <= mostCharacters
}

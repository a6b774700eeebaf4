import { CharSet } from './char-set.ts'

/** How far a writing of some character has been read. */
export interface Step {
  /** Below 16,384. */
  readonly id: number
  readonly next: ReadonlyMap<number, Step>
  /** What is said when the writing ends here. */
  readonly says: readonly number[]
  /** Everything that may yet be said from here on, `says` left out. */
  readonly ahead: CharSet
}

interface Growing extends Step {
  readonly next: Map<number, Growing>
  readonly says: number[]
}

/** Writings of characters as a tree of their bytes, some branches of which are shared. */
export class WritingTree {
  readonly #steps: Growing[] = []
  readonly root: Step = this.#grow()

  #grow(): Growing {
    const step = { id: this.#steps.length, next: new Map(), says: [], ahead: new CharSet() }
    this.#steps.push(step)
    return step
  }

  /** A writing of `char`: `digits` in small or capital letters between what stands as it is. */
  add(char: number, before: string, digits = '', after = ''): void {
    let step = this.#along(before)
    for (const digit of digits) {
      const next = this.#child(step, digit)
      // Of another case, and the same.
      step.next.set(digit.toUpperCase().charCodeAt(0), next)
      step = next
    }
    for (const sign of after) step = this.#child(step, sign)
    if (!step.says.includes(char)) step.says.push(char)
  }

  /** Lets the numbers that begin behind `before` begin with up to `most` zeros. */
  padWithZeros(before: string, most: number): void {
    const first = this.#along(before)
    const digits = [...first.next].filter(([byte]) => /[1-9A-Fa-f]/.test(String.fromCharCode(byte)))
    let step = first
    for (let zeros = 0; zeros < most; zeros += 1) {
      step = this.#child(step, '0')
      for (const [byte, next] of digits) step.next.set(byte, next)
    }
  }

  /** Lets the last byte of `same` be that of `as`, too. */
  alias(same: string, as: string): void {
    this.#along(same.slice(0, -1)).next.set(same.charCodeAt(same.length - 1), this.#along(as))
  }

  /** A second root, whose branch at `lead` is without what goes on with one of `without`. */
  rootWithout(lead: string, without: string): Step {
    const [root, branch] = [this.#grow(), this.#grow()]
    for (const [byte, next] of this.#along('').next) root.next.set(byte, next)
    for (const [byte, next] of this.#along(lead).next)
      if (!without.includes(String.fromCharCode(byte))) branch.next.set(byte, next)
    root.next.set(lead.charCodeAt(0), branch)
    return root
  }

  /** To be called once, when everything has been added: makes `ahead` true. */
  finish(): void {
    const known = new Set<Step>()
    const look = (step: Step): CharSet => {
      if (known.has(step)) return step.ahead
      known.add(step)
      for (const next of step.next.values()) {
        step.ahead.addAll(look(next))
        for (const char of next.says) step.ahead.add(char)
      }
      return step.ahead
    }
    for (const step of this.#steps) look(step)
  }

  #along(path: string): Growing {
    let step = this.#steps[0] ?? this.#grow()
    for (const sign of path) step = this.#child(step, sign)
    return step
  }

  #child(step: Growing, sign: string): Growing {
    const byte = sign.charCodeAt(0)
    const next = step.next.get(byte) ?? this.#grow()
    step.next.set(byte, next)
    return next
  }
}

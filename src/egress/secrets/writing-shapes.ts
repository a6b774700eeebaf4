import { CharSet } from './char-set.ts'
import type { Step } from './writing-tree.ts'
import type { Writings } from './writings.ts'

/** Bytes that stand in writings, as one number, with the characters that such a writing says. */
export type Shapes = readonly (readonly [bytes: number, says: CharSet])[]

export interface WritingShapes {
  /** The last byte of a writing, and the last two. */
  readonly tails: Shapes
  readonly ends: Shapes
  /** Two in a row anywhere; three, unless the first is a hexadecimal digit: with one, any writing may end. */
  readonly pairs: Shapes
  readonly triples: Shapes
}

const known = new WeakMap<Writings, WritingShapes>()

export function writingShapes(writings: Writings): WritingShapes {
  const shapes = known.get(writings) ?? shapesOf(writings)
  known.set(writings, shapes)
  return shapes
}

function shapesOf({ steps }: Writings): WritingShapes {
  const shapes = { tails: new Shape(), ends: new Shape(), pairs: new Shape(), triples: new Shape() }
  for (const step of steps) {
    for (const [a, second] of step.next) {
      shapes.tails.add(a, second.says)
      for (const [b, third] of second.next) {
        shapes.ends.add((a << 8) | b, third.says)
        shapes.pairs.addAhead((a << 8) | b, third)
        if (/[0-9A-Fa-f]/.test(String.fromCharCode(a))) continue
        for (const [c, fourth] of third.next) shapes.triples.addAhead((a << 16) | (b << 8) | c, fourth)
      }
    }
  }
  return {
    tails: shapes.tails.all(),
    ends: shapes.ends.all(),
    pairs: shapes.pairs.all(),
    triples: shapes.triples.all(),
  }
}

class Shape {
  readonly #says = new Map<number, CharSet>()

  add(bytes: number, says: readonly number[]): void {
    if (says.length === 0) return
    const chars = this.#of(bytes)
    for (const char of says) chars.add(char)
  }

  addAhead(bytes: number, step: Step): void {
    this.#of(bytes).addAll(step.ahead)
    this.add(bytes, step.says)
  }

  all(): Shapes {
    return [...this.#says]
  }

  #of(bytes: number): CharSet {
    const chars = this.#says.get(bytes) ?? new CharSet()
    this.#says.set(bytes, chars)
    return chars
  }
}

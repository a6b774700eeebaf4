import { inOwnMemory } from '../economy/own-memory.ts'
import { headerValues } from '../request/head.ts'
import { decoded, octetText } from './decoded.ts'
import { basicText } from './place-header.ts'
import type { StandIn } from './slot.ts'

/** How often `needle` stands in `text`. */
export function copiesIn(text: string, needle: string): number {
  return text.split(needle).length - 1
}

/** Everything of a head where a placeholder could stand, as a server would read it. */
export function readableHead(head: { rawHeaders: readonly string[]; path: string; query: string }): string[] {
  const texts = head.rawHeaders.filter((_, i) => i % 2 === 1)
  for (const value of headerValues(head.rawHeaders, 'authorization')) {
    const basic = basicText(value)
    if (basic !== undefined) texts.push(basic)
  }
  texts.push(decoded(head.path))
  texts.push(octetText(head.query))
  return texts
}

/** Looks for placeholders in a body that streams by; it changes nothing. */
export class StandInWatch {
  readonly #standIns: readonly (StandIn & { bytes: Buffer })[]
  readonly #longest: number
  readonly #seen = new Set<string>()
  readonly #tails = { body: Buffer.alloc(0) as Buffer, control: Buffer.alloc(0) as Buffer }

  constructor(standIns: readonly StandIn[]) {
    this.#standIns = standIns.map((each) => ({ ...each, bytes: Buffer.from(each.text, 'latin1') }))
    this.#longest = Math.max(1, ...this.#standIns.map(({ bytes }) => bytes.length))
  }

  /** `of` which text it is the next piece: a WebSocket's control frames stand between the pieces of its messages. */
  push(chunk: Buffer, of: 'body' | 'control' = 'body'): void {
    const tail = this.#tails[of]
    const text = tail.length === 0 ? chunk : Buffer.concat([tail, chunk])
    for (const { credential, bytes } of this.#standIns) {
      if (!this.#seen.has(credential) && text.includes(bytes)) this.#seen.add(credential)
    }
    this.#tails[of] = inOwnMemory(text.subarray(Math.max(0, text.length - this.#longest + 1)))
  }

  /** The credentials whose placeholders came by. */
  seen(): readonly string[] {
    return [...this.#seen]
  }
}

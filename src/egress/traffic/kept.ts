import type { Inbound } from '../inbound/inbound.ts'
import type { HeldBody } from './held.ts'
import { Pieces } from './pieces.ts'

/** Longer than what most programs say to an API, and as much as each request under way may keep until its answer. */
const shortBytes = 64 * 1024

/**
 * A short body as it is sent, kept until something is answered: one that its upstream did not begin with can be sent
 * again (docs/decisions/0047).
 */
export class KeptBody {
  readonly #length: number
  #pieces: Pieces | undefined = new Pieces()

  private constructor(length: number) {
    this.#length = length
  }

  /** Undefined for a body that is too long, or does not say how long it is. */
  static of({ content }: Inbound): KeptBody | undefined {
    const length = content?.length
    return length === undefined || length > shortBytes ? undefined : new KeptBody(length)
  }

  push(piece: Buffer): void {
    this.#pieces?.push(piece)
  }

  /** Nobody will ask for it any more. */
  drop(): void {
    this.#pieces = undefined
  }

  /** Whether all of it is here and may yet be asked for. */
  get isWhole(): boolean {
    return this.#pieces?.bytes === this.#length
  }

  /** It, as a body that was held back; undefined where it is not whole. */
  held(): HeldBody | undefined {
    const pieces = this.#pieces
    if (pieces?.bytes !== this.#length) return undefined
    return { bytes: pieces.joined(), release: () => undefined }
  }
}

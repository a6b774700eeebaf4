import { createHash } from 'node:crypto'
import { inspect } from 'node:util'

/**
 * A string that will not print: interpolation, JSON, `util.inspect` and pino all show `[secret]`.
 * `reveal()` is the only way to the value; grep for it to review every place where a secret is used.
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  reveal(): string {
    return this.#value
  }

  /** Eight hex digits that tell two secrets apart in a log without saying anything about either. */
  get fingerprint(): string {
    return createHash('sha256').update(this.#value).digest('hex').slice(0, 8)
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}

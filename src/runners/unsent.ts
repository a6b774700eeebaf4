import { AppError } from '../core/index.ts'

/** Nothing of the request was processed by this sandbox, for certain: it may be made again, here or elsewhere. */
export class Unsent extends Error {
  override readonly name = 'Unsent'

  constructor(cause: unknown) {
    super('nothing was sent', { cause })
  }
}

/** Whether a toolhost client's error says that nothing was sent; anything less certain is doubt. */
export function saysUnsent(error: unknown): boolean {
  return error instanceof AppError && error.details['sent'] === false
}

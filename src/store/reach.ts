import { AppError } from '../core/index.ts'
import type { Store } from './database.ts'

/** Throws `unavailable` while the database does not answer; the driver's own words are its cause. */
export async function demandAnswer({ pool }: Pick<Store, 'pool'>): Promise<void> {
  await pool.query('SELECT 1').catch((cause: unknown) => {
    throw new AppError('unavailable', 'the database does not answer', { cause })
  })
}
